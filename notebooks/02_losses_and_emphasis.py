# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What each loss does to the gradient
#
# A network learns from the *gradient* of its loss, and from nothing else. So a method against wrong
# labels is best understood by what it does to the gradient. All methods of `LOSSES` are here. They
# do one of two things, or both:
#
# * **target modification** changes *where* an example pulls: label smoothing (LS), confidence
#   penalty (CP), bootstrapping (Boot-soft, Boot-hard), ProSelfLC, and methods that remember earlier
#   predictions or ask a teacher;
# * **example weighting** changes *how hard* it pulls: mean absolute error (MAE) and its relatives,
#   derivative manipulation (DM), IMAE, and sums of two losses.
#
# Every number here is asked of the loss objects that train; no training data are needed.

# %%
import copy
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

# %%
from protein_robust.losses import LOSSES, LossContext, batch_objective, make_loss, teacher_of
from protein_robust.losses.emphasis import Beta, General
from protein_robust.noise import Classes, LabelRule, corrupt_labels
from protein_robust.report import figures, loss_figures
from protein_robust.report.loss_curves import logits_at, loss_curves, loss_gradients

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 60}

# %% [markdown]
# ## Cross entropy
#
# The network gives scores *z*, one for each class, and p = softmax(z). The label is q: 1 for the
# given class, 0 for all others. Cross entropy (CCE) is -log p of the given class, and its gradient
# in the scores is simply **p - q**. A step goes the other way, q - p: up for the given class, down
# for the others, in proportion to their probability.

# %%
logits = torch.tensor([[1 / 2, 1 / 3, 1 / 6]], dtype=torch.float64).log()
label = torch.tensor([0])
value, gradient = loss_gradients(make_loss("cross_entropy"), logits, label)
worked = pd.DataFrame({"p": logits.exp()[0], "q": [1.0, 0.0, 0.0], "gradient": gradient[0]})
print(f"loss {value.item():.6f} = log 2")
worked.assign(**{"p - q": worked["p"] - worked["q"]}).round(6)

# %% [markdown]
# The sizes of the entries add up to 2 (1 - p_y), where p_y is the probability of the given label:
# here 1, at most 2. So cross entropy pulls hardest where the network disagrees most with the label.
# That is right for a difficult example, and wrong for a wrong label; the gradient alone cannot tell
# which it is.

# %% [markdown]
# ## Target modification: another place to pull to
#
# Put another target q̃ in place of q. Take the example of the ProSelfLC paper: the network is sure
# of class A, 95 %, but the label says C. With u the uniform distribution and ε = 1/4:

# %%
probs, epsilon = np.array([0.95, 0.01, 0.04]), 0.25
given, uniform, decided = np.array([0, 0, 1]), np.full(3, 1 / 3), np.array([1, 0, 0])
logits, label = torch.tensor(probs).log()[None], torch.tensor([2])

# %%
modified = {"CCE": make_loss("cross_entropy")}
modified["LS"] = make_loss("label_smoothing", epsilon=epsilon)
modified["CP"] = make_loss("confidence_penalty", epsilon=epsilon)
modified["Boot-soft"] = make_loss("bootstrap_soft", epsilon=epsilon)
modified["Boot-hard"] = make_loss("bootstrap_hard", epsilon=epsilon)
modified["ProSelfLC"] = make_loss("proselflc")

# %% [markdown]
# ProSelfLC chooses ε by itself, for each example and each moment; we ask it at the end of training.

# %%
trust = modified["ProSelfLC"].describe(logits, label, progress=1.0)["trust"].item()
targets = pd.DataFrame({"CCE": given, "LS": (1 - epsilon) * given + epsilon * uniform})
targets["CP"] = (1 - epsilon) * given - epsilon * probs
targets["Boot-soft"] = (1 - epsilon) * given + epsilon * probs
targets["Boot-hard"] = (1 - epsilon) * given + epsilon * decided
targets["ProSelfLC"] = (1 - trust) * given + trust * probs

# %% [markdown]
# Each loss is the cross entropy H(q̃, p) of the prediction with its target, as the two columns
# show.

# %%
asked = {name: loss_gradients(loss, logits, label, progress=1.0) for name, loss in modified.items()}
by_hand = -(targets.T @ np.log(probs))
of_loss = pd.Series({name: values.item() for name, (values, _) in asked.items()})
pd.DataFrame({"H(target, p)": by_hand, "value of the loss": of_loss}).round(6)

# %%
look = {"subplots": True, "layout": (1, 6), "sharey": True, "legend": False, "rot": 0}
look |= {"figsize": (11, 2.2), "color": figures.PALETTE[0]}
targets.index = ["A", "B", "C"]
axes = targets.plot.bar(**look, ylabel="target")

# %% [markdown]
# LS and CP never move the largest entry away from the label: they are about confidence. CP's target
# is negative where the prediction is large, and does not sum to 1. Boot-soft and Boot-hard give the
# prediction a fixed share. ProSelfLC, late in training and with so confident a prediction, gives it
# about 80 %: the target now says A.
#
# The step that each loss makes in the scores, the gradient with its sign turned:

# %%
steps = pd.DataFrame({name: -gradients[0] for name, (_, gradients) in asked.items()})
steps.index = ["A", "B", "C"]
axes = steps.plot.bar(**look | {"color": figures.PALETTE[2]}, ylabel="step in z")

# %% [markdown]
# All but ProSelfLC pull towards the wrong label with two thirds of the force of CCE or more;
# ProSelfLC has nearly let go. Its step still points to C a little: for the network to stay with A,
# ε must be higher than what turns the target. How much higher depends on a choice that the formula
# of the target does not show.

# %% [markdown]
# ## Where does the gradient flow? G0, G1, G2
#
# The target q̃ = (1 - ε) q + ε p contains the prediction. May the gradient flow through that p, and
# through ε, which depends on p as well? The authors' own codes have three answers:
#
# | | through ε | through p in the target | gradient | here |
# |---|---|---|---|---|
# | G0 | yes | yes | all terms | `detach_trust=False` |
# | G1 | no | yes | (1 - ε)(p - q) + ε dH(p)/dz | default at T = 1 |
# | G2 | no | no | p - q̃ | default at T < 1, `detach_target=True` |
#
# Under **G2 at temperature T = 1** the prediction cancels: p - q̃ = (1 - ε)(p - q). That is cross
# entropy with a smaller weight, so it corrects nothing. The library says so:

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    only_a_weight = make_loss("proselflc", exp_base=16, detach_target=True)
print(caught[0].message)

# %% [markdown]
# The worked example again, with the label on the third class, three quarters through the training.
# Divided by p - q, entry by entry, G2 at T = 1 is one and the same number, 1 - ε.

# %%
conventions = {"G0": make_loss("proselflc", exp_base=16, detach_trust=False)}
conventions["G1"] = make_loss("proselflc", exp_base=16)
conventions["G2, T = 1"] = only_a_weight
conventions["G2, T = 0.5"] = make_loss("proselflc", exp_base=16, temperature=0.5)

# %%
worked = torch.tensor([[1 / 2, 1 / 3, 1 / 6]], dtype=torch.float64)
rows = {}
for name, loss in conventions.items():
    rows[name] = loss_gradients(loss, worked.log(), label, progress=0.75)[1][0]

# %%
table = pd.DataFrame(rows, index=["class 1", "class 2", "class 3"]).T
ratio = table / (worked[0].numpy() - np.array([0, 0, 1]))
pd.concat({"gradient": table, "gradient / (p - q)": ratio}, axis=1).round(6)

# %% [markdown]
# ### Does it correct the label?
#
# Start at p = [0.95, 0.01, 0.04] with the wrong label C, take a fixed ε (Boot-soft, G2), and move p
# against the gradient until it rests. Where it stays near A, the label is corrected; where it ends
# at C, the wrong label is learnt by heart.

# %%
correcting = {}
for temperature, eps in [(0.5, 0.9), (0.5, 0.8), (0.2, 0.8), (1.0, 0.9)]:
    choice = {"epsilon": eps, "temperature": temperature, "detach_target": True}
    with warnings.catch_warnings(action="ignore"):
        correcting[f"T = {temperature}, ε = {eps}"] = make_loss("bootstrap_soft", **choice)

# %%
paths = {}
for name, loss in correcting.items():
    path = [torch.tensor([[0.95, 0.01, 0.04]], dtype=torch.float64)]
    for _ in range(200):
        path.append(path[-1] - 0.5 * loss_gradients(loss, path[-1].log(), label)[1])
    paths[name] = torch.cat(path).numpy()

# %%
pd.DataFrame({name: path[-1] for name, path in paths.items()}, index=["A", "B", "C"]).T.round(6)

# %%
of_predicted = pd.DataFrame({name: path[:80, 0] for name, path in paths.items()})
axis = of_predicted.plot(figsize=(5.5, 2.6), color=figures.PALETTE, grid=True)
_ = axis.set(xlabel="iteration", ylabel="probability of A, predicted at first")

# %% [markdown]
# At T = 0.5 the trust must exceed 0.828, at T = 0.2 only 0.674; at T = 1 no ε below 1 suffices. So
# with G2 it is the *low temperature* that corrects: p_T is sharper than p and pulls p towards it.
# With G1 the entropy term does that, above ε = 0.782. The figure "ε > 0.5 changes the class" is
# about the target alone.

# %% [markdown]
# ## ProSelfLC: trust over time
#
# ε = g(t) l(p). The trust in the model, g, grows with time along a logistic curve; the trust in a
# prediction, l, is 1 minus its entropy over the largest possible one. Both must be high: an early
# prediction is not believed, nor an unsure one.

# %%
loss_figures.trust_over_time(make_loss("proselflc"))

# %% [markdown]
# A low temperature sharpens the prediction before it is judged. With ten classes, the trust in a
# prediction, by its largest probability:

# %%
confidences = [0.5, 0.8, 0.95]
logits, labels = logits_at(np.array(confidences), 10), torch.tensor([0, 0, 0])
trusting = {f"T = {t}": make_loss("proselflc", temperature=t) for t in [1, 0.5, 0.2]}
told = {name: loss.describe(logits, labels, progress=1.0) for name, loss in trusting.items()}
trust = {name: described["local_trust"].numpy() for name, described in told.items()}
pd.DataFrame(trust, index=[f"max p = {confidence}" for confidence in confidences]).T.round(3)

# %% [markdown]
# ## With a memory or a teacher
#
# ProSelfLC believes what the network predicts at this moment. Other methods believe what it
# predicted *before*, or what *another* network predicts:
#
# * `pseudo_label` adds the predicted class as a second label, with a weight a that grows from 0 to
#   3. It needs no memory, only the time;
# * `early_learning_regularization` (ELR) keeps a running mean of each example's predictions and
#   pulls towards it, since networks fit right labels first;
# * `joint_optimization` (JO) keeps one too, and from 35 % of the training on puts it in place of
#   the label.
#
# The same example again: class A at 95 %, label C. We show it 20 times and hold the prediction
# still, so whatever changes comes from the memory or from the time. JO also wants the mean
# prediction of a batch to be even; two more examples, with the classes turned round, see to that.

# %%
sure = torch.tensor([0.95, 0.01, 0.04], dtype=torch.float64)
turned = torch.stack([sure, sure.roll(1), sure.roll(2)])
labels, index = torch.tensor([2, 0, 1]), torch.arange(3)

# %%
believing = {"CCE": make_loss("cross_entropy"), "pseudo_label": make_loss("pseudo_label")}
believing["ELR"] = make_loss("early_learning_regularization")
believing["JO"] = make_loss("joint_optimization")
cpu, rows = torch.device("cpu"), []
memories = {name: believing[name].new_memory(3, 3, cpu) for name in ["ELR", "JO"]}

# %%
for time in range(1, 21):
    for name, loss in believing.items():
        logits = turned.log().requires_grad_()
        context = LossContext(time / 20, index, memory=memories.get(name))
        loss(logits, labels, context).sum().backward()
        rows.append([name, time, *-logits.grad[0].numpy()])

# %%
steps = pd.DataFrame(rows, columns=["loss", "time seen", "A, predicted", "B", "C, given label"])
figure, axes = plt.subplots(1, 4, figsize=(11, 2.4), sharey=True)
look = {"y": ["A, predicted", "C, given label"], "color": figures.PALETTE, "grid": True}
for axis, (name, part) in zip(axes, steps.groupby("loss", sort=False), strict=True):
    part.plot(x="time seen", ax=axis, title=name, ylabel="step in z", legend=name == "CCE", **look)

# %% [markdown]
# Above 0 a score is pushed up, below it is pushed down. Cross entropy says the same 20 times: less
# A, more C. **ELR** agrees with it at first, when there is nothing to remember; as the memory
# fills, the step turns round and holds on to A. **JO** turns at once, when it exchanges the label;
# what is left then is its entropy term, which sharpens the prediction. **Pseudo-label** changes
# little *here*: its second label, A, is nearly reached already. With a = 3 it rests at 3/4 A and
# 1/4 C, so it keeps the predicted class, but not the confidence.
#
# What JO remembers of the example: of 17,929 families only the largest 16 shares would be kept. The
# mean began at 0, so its shares do not add up to 1 yet; as a label they are made to.

# %%
remembered = pd.DataFrame({name: values[0] for name, values in memories["JO"].items()})
remembered["classes"] = remembered["classes"].map({0: "A", 1: "B", 2: "C"})
remembered.assign(label=remembered["shares"] / remembered["shares"].sum()).round(6)

# %% [markdown]
# JO has a second step: a fresh network is trained on these labels, with `corrected_labels`.
# `distillation` asks a trained network, the teacher, about each example instead. Let the fresh
# network predict p = [1/2, 1/3, 1/6], the label be C, and the teacher say what JO remembers, A at
# 95 %. The target is read off the gradient, as p minus the gradient: with this target, cross
# entropy would make the same step.

# %%
told = {"CCE": make_loss("cross_entropy")}
told["distillation, T = 1"] = make_loss("distillation", temperature=1)
told["distillation, T = 2"] = make_loss("distillation")
told["corrected_labels"] = make_loss("corrected_labels")
told["corrected_labels, hard"] = make_loss("corrected_labels", form="hard")

# %%
first, memory, gradients = torch.tensor([0]), memories["JO"], {}
context = LossContext(0.5, first, memory=memory, teacher_logits=sure.log()[None])
for name, loss in told.items():
    logits = worked.log().requires_grad_()
    loss(logits, labels[:1], context).sum().backward()
    gradients[name] = logits.grad[0].numpy()

# %%
gradients = pd.DataFrame(gradients, index=["A", "B", "C"]).T
pd.concat({"target": worked[0].numpy() - gradients, "gradient": gradients}, axis=1).round(4)

# %% [markdown]
# At T = 1 distillation goes half way, ε = 1/2: the target is about half A, half C. At T = 2 both
# predictions are softened before they are compared, and the result is weighted up; here that is
# enough to push A up as well. (It is a sum of two losses, so a target read off may leave [0, 1].)
# Corrected labels leave nothing of the given label: the gradient has turned from C to A. All of
# them are only as good as the network that is asked; nothing here knows which class is right.

# %% [markdown]
# ## Example weighting: another force
#
# Now keep the direction p - q and ask how hard each example pulls, given p_y. Standard practice
# designs a loss (left) and takes its derivative (middle) as it comes. **Derivative manipulation**
# designs the middle panel. Right: the same force as a factor on cross entropy's.

# %%
weighting = {"CCE": make_loss("cross_entropy"), "MAE": make_loss("mean_absolute_error")}
weighting["MSE"] = make_loss("mean_squared_error")
weighting["GCE"] = make_loss("generalized_cross_entropy", q=0.7)
weighting["IMAE"] = make_loss("imae", temperature=8)
weighting["DM"] = make_loss("derivative_manipulation", lam=1, beta=16)
loss_figures.loss_shapes(weighting)

# %% [markdown]
# Cross entropy pulls hardest at p_y = 0, where wrong labels gather. MAE ignores those, but pulls
# softly everywhere: with many classes every p_y begins near 0, and little is learnt. DM and IMAE
# pull hard in the middle. They are divided by their sum over the batch, so that the step does not
# fade as examples are fitted. The loss that they show is that of cross entropy, for a reason given
# below.
#
# Two numbers sum up a curve. The **emphasis mode** is the p_y that pulls hardest; the **emphasis
# variance** says how differently examples are treated, here for p_y uniform on (0, 1) and the area
# under the curve set to 1.

# %%
curves = loss_curves(weighting, num_points=1000)
force = curves.pivot(index="label_probability", columns="loss", values="magnitude")[[*weighting]]
summary = pd.DataFrame({"mode": force.idxmax(), "largest": force.max(), "area": force.mean()})
summary.assign(variance=(force / force.mean()).var(ddof=0)).round(3)

# %% [markdown]
# A density of derivative manipulation, exp(β p^λ (1 - p)), has its mode at λ / (λ + 1): the more
# wrong labels, the larger λ. β sets the variance: near 0 all examples count alike. Cross entropy
# and MAE are densities too (beta densities), and can be compared on the same footing.

# %%
densities = {"CCE": Beta(alpha=1, eta=2), "MAE": Beta(alpha=2, eta=2)}
choices = [(0, 2), (0.5, 12), (1, 8), (1, 16), (2, 12)]
densities |= {f"DM λ = {lam}, β = {beta}": General(lam=lam, beta=beta) for lam, beta in choices}
loss_figures.emphasis_densities(densities)

# %% [markdown]
# ### "If you don't have a loss, the derivative of what would you get?"
#
# Of nothing that one could write down usefully: the loss with DM's gradient is infinite. None is
# needed. Training only uses gradients, so the library returns a *surrogate*: its value is the cross
# entropy, for the log, and its gradient is the one that was designed. Three examples, one batch:

# %%
probs = torch.tensor([[1 / 2, 1 / 3, 1 / 6], [0.05, 0.9, 0.05], [0.9, 0.05, 0.05]]).double()
logits, labels = probs.log().requires_grad_(), torch.zeros(3, dtype=torch.int64)
context = LossContext(progress=0.5, index=torch.arange(3))
loss = make_loss("derivative_manipulation", lam=0.5, beta=12)
values = loss(logits, labels, context)
batch_objective(loss, values).backward()

# %%
table = pd.DataFrame({"p_y": probs[:, 0], "value": values.detach(), "-log p_y": -probs[:, 0].log()})
table["|gradient|"] = logits.grad.abs().sum(dim=1)
columns = ["dL/dz 1", "dL/dz 2", "dL/dz 3"]
table.join(pd.DataFrame(logits.grad.numpy(), columns=columns)).round(6)

# %% [markdown]
# The forces add up to 1 in every batch, however well it is fitted. The second example, with p_y =
# 0.05, gets a seventh of the whole although its loss is by far the largest. So do not judge DM by
# its loss curve: it may rise while DM does what it should.
#
# ### Examples that are fitted already
#
# As p_y goes to 1, the density of DM goes to exp(0) = 1, not to 0: by the published equation a
# perfectly fitted example keeps pulling and its scores grow without end. The authors' code lets the
# pull fade once 1 - p_y is about 1e-8. That is `vanish_at_one`, on by default. Below, the force
# against the lead of the label's score over those of two other classes:

# %%
lead = torch.linspace(0, 30, 121, dtype=torch.float64)
logits, labels = torch.stack([lead, 0 * lead, 0 * lead], dim=1), torch.zeros(121, dtype=torch.int64)
fading = {"CCE": make_loss("cross_entropy")}
fading["DM"] = make_loss("derivative_manipulation", normalisation="integral", vanish_at_one=False)
fading["DM, vanish_at_one"] = make_loss("derivative_manipulation", normalisation="integral")

# %%
forces = {name: loss_gradients(loss, logits, labels)[1] for name, loss in fading.items()}
forces = pd.DataFrame({name: x.abs().sum(dim=1) for name, x in forces.items()}, index=lead.numpy())
look = {"figsize": (5.5, 2.6), "color": figures.PALETTE, "style": ["-", "-", "--"], "grid": True}
axis = forces.plot(**look, logy=True, ylim=(1e-3, 5))
_ = axis.set(xlabel="lead of the label's score", ylabel="L1 norm of the gradient")

# %% [markdown]
# ## From the field
#
# Other authors start from mean absolute error, which ignores wrong labels but learns slowly, and
# add what it lacks. The parameters are chosen to fit into one picture; the defaults are those of
# the authors for CIFAR.

# %%
field = {"CCE": make_loss("cross_entropy"), "GCE": make_loss("generalized_cross_entropy")}
field["RCE"] = make_loss("reverse_cross_entropy", log_zero=-4)
field["SCE"] = make_loss("symmetric_cross_entropy", alpha=0.5, beta=0.5, log_zero=-4)
field["NCE"] = make_loss("normalized_cross_entropy")
field["active_passive"] = make_loss("active_passive", alpha=10, beta=0.1)
field["epsilon_softmax"] = make_loss("epsilon_softmax", alpha=0.5, beta=0.5)

# %%
loss_figures.loss_shapes(field)

# %% [markdown]
# Look at the right panel, and there at the left end, where p_y is small: wrong labels are there,
# and early in training everything is.
#
# * **GCE**, generalised cross entropy: p_y to the power q, between cross entropy (a flat line at 1)
#   and mean absolute error (a straight line from 0).
# * **RCE**, reverse cross entropy: a straight line from 0, so it *is* mean absolute error, times a
#   number that stands for -log 0 (here 4).
# * **SCE**, symmetric cross entropy: alpha times CCE plus beta times RCE. alpha is where the line
#   begins: how hard improbable labels pull, right or wrong. beta is how steeply it rises: how much
#   more pull probable labels get. Much alpha is like cross entropy and fits, much beta is like MAE
#   and resists.
# * **NCE**, normalised cross entropy: divided by the sum over all possible labels. Robust, but its
#   line lies near 0 in the middle panel: it hardly pulls.
# * **active_passive**: alpha times NCE plus beta times RCE. NCE fits the label ("active"), RCE
#   takes from the other classes ("passive"). alpha must make up for how small NCE is.
# * **epsilon_softmax**: alpha times the cross entropy of a prediction that was pushed far towards
#   its own largest class, plus 2 beta times MAE. An example whose label is *not* the predicted
#   class keeps the full pull alpha on top of MAE's, and its value is large. Once the label *is*
#   predicted (here from p_y = 0.1, the step in all three panels) the first term is silent and MAE
#   is left alone. So it is MAE with a start; wrong labels have that start too, so alpha is small,
#   0.03 by default.
#
# The start matters. How hard does an example pull whose label is half as probable as by chance, p_y
# = 1 / (2K)?

# %%
begin = {}
for size in [10, 100, 1000]:
    logits, label = logits_at(np.array([0.5 / size]), size), torch.tensor([0])
    found = {name: loss_gradients(loss, logits, label)[1] for name, loss in field.items()}
    begin[f"K = {size}"] = {name: gradient.abs().sum().item() for name, gradient in found.items()}

# %%
pd.DataFrame(begin).map("{:.5f}".format)

# %% [markdown]
# With many classes GCE and RCE begin with almost nothing, and NCE with even less: its divisor grows
# like K log K. alpha of SCE and of ε-softmax is a floor which does not depend on K; alpha of
# active_passive shrinks with NCE, so it must grow with the number of classes.
#
# NCE has a second weakness, which the picture cannot show as it spreads the rest evenly. Class A at
# 95 %, label C: for each unit that a step gives to the score of C, what does it take from A and B?

# %%
logits, label = sure.log()[None], torch.tensor([2])
field["active_passive, default"] = make_loss("active_passive")
asked = {name: loss_gradients(loss, logits, label)[1][0] for name, loss in field.items()}
asked = pd.DataFrame(asked, index=["A, predicted", "B", "C, given label"]).T
asked.div(-asked["C, given label"], axis=0).mul(-1).round(3)

# %% [markdown]
# The others take 99 % from A, which is predicted. NCE takes two thirds from B, which has next to
# nothing: its value also falls when unlikely classes become less likely still. So it pulls little,
# and much of that in vain: NCE alone **underfits**. In active_passive the weights decide: with
# alpha = 10, beta = 0.1 NCE still rules here, with the default alpha = beta = 1 it is mostly RCE.

# %% [markdown]
# ## What becomes of wrong labels
#
# A small network, 1500 points in five classes, 40 % of the labels wrong. The points are **made up**
# and the numbers say nothing about proteins; they show the mechanism. Four losses, the same start.

# %%
rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
clean_label = rng.integers(5, size=1500)
classes = Classes(tuple("ABCDE"), (None,) * 5)
noise = corrupt_labels(clean_label, classes, rule=LabelRule("symmetric", 0.4), rng=rng)

# %%
centres = torch.randn(5, 20, generator=generator)
points = centres[torch.from_numpy(clean_label)] + torch.randn(1500, 20, generator=generator)
labels, index = torch.from_numpy(noise.label), torch.arange(1500)

# %%
compared = {"CCE": make_loss("cross_entropy"), "Boot-soft": make_loss("bootstrap_soft")}
compared["ProSelfLC"] = make_loss("proselflc", temperature=0.5)
compared["DM"] = make_loss("derivative_manipulation", lam=1, beta=16)

# %%
torch.manual_seed(0)
layers = torch.nn.Linear(20, 128), torch.nn.ReLU(), torch.nn.Linear(128, 5)
models = {name: copy.deepcopy(torch.nn.Sequential(*layers)) for name in compared}
optimisers = {name: torch.optim.Adam(model.parameters(), 2e-3) for name, model in models.items()}

# %%
for step in range(1, 301):
    for name, loss in compared.items():
        values = loss(models[name](points), labels, LossContext(progress=step / 300, index=index))
        optimisers[name].zero_grad()
        batch_objective(loss, values).backward()
        optimisers[name].step()

# %%
found = {name: model(points).detach().softmax(dim=1) for name, model in models.items()}
frames = {name: pd.DataFrame({"label_probability": p[index, labels]}) for name, p in found.items()}
frame = pd.concat(frames, names=["loss", "example"]).reset_index()
frame["is_corrupted"] = noise.is_corrupted[frame["example"]]
loss_figures.label_probability_histogram(frame)

# %% [markdown]
# With cross entropy right and wrong labels overlap: it is learning the wrong ones by heart. The
# others keep more of them near 0, where they can be told apart: DM, which ignores what is there,
# nearly all, and ProSelfLC, which comes to trust its own prediction, most. Over the wrong labels:

# %%
wrong, true_label = noise.is_corrupted, torch.from_numpy(clean_label)
chosen = {name: probs.argmax(dim=1)[wrong] for name, probs in found.items()}
fitted = {name: (x == labels[wrong]).double().mean().item() for name, x in chosen.items()}
mended = {name: (x == true_label[wrong]).double().mean().item() for name, x in chosen.items()}
pd.DataFrame({"predicted as given": fitted, "predicted as they were": mended}).round(3)

# %% [markdown]
# ## Which loss when
#
# All there are, and what each asks for besides scores and labels. Where the gradient of an example
# depends on the others of its batch, the size of the batch matters.

# %%
needs = pd.DataFrame({"teacher": {name: teacher_of(name) or "" for name in LOSSES}})
needs["memory"] = ["yes" if hasattr(loss, "new_memory") else "" for loss in LOSSES.values()]
needs["depends on the batch"] = ["yes" if loss.batch_weighted else "" for loss in LOSSES.values()]
needs

# %% [markdown]
# * **Labels are right**: `cross_entropy`, the reference for all others. If confidence is too high,
#   `label_smoothing` or `confidence_penalty`; neither corrects a label.
# * **Wrong labels, to be mended**: `proselflc` with a `temperature` of at most 0.5 trusts the label
#   early and the prediction late. `bootstrap_soft` at low `temperature` has a fixed ε instead; mind
#   the thresholds above. `joint_optimization` and then `corrected_labels` exchange the labels
#   themselves, at the price of two trainings.
# * **The network is right early and wrong late**: `early_learning_regularization` holds on to what
#   it said first. If you have a network that can be trusted more: `distillation`.
# * **Some examples have no label at all**: `pseudo_label`.
# * **Wrong labels, to be ignored**: `derivative_manipulation`, or `imae` with one parameter less.
#   The more noise, the larger λ.
# * **The same with an ordinary, bounded loss**: `generalized_cross_entropy`, between cross entropy
#   (q near 0) and mean absolute error (q = 1); `active_passive` with a large alpha.
# * **The same with a floor, so that improbable labels are still learnt**: `symmetric_cross_entropy`
#   or `epsilon_softmax`.
# * **Few classes and much noise**: `mean_absolute_error`, or `reverse_cross_entropy` with larger
#   steps; with many classes they hardly learn. `normalized_cross_entropy` is a part of
#   `active_passive`, not for use alone.
#
# The best parameters depend on how much noise there is (B of ProSelfLC, λ and β of DM): choose them
# on validation data with labels that can be trusted. Then compare methods as in `00_first_study`,
# with several seeds and against cross entropy.
