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
# # Training dynamics on images
#
# For those who develop or compare methods against wrong labels. Which labels are wrong, what a
# network sees of an image, and what becomes of right and of wrong labels while it trains; then the
# same images as a curator would look at them, and the published numbers beside.
#
# What is drawn is a finished study on CIFAR-10, where there is one: that of `STUDY_FOLDER`. To make
# it, on two processor cores,
#
# `python -m protein_robust.pipeline run pipelines/cifar10_resnet56_symmetric.yaml --preset laptop`
#
# Otherwise the notebook makes a **small** study of its own, of scikit-learn's **digits**: few
# images, a small network, a **short** training, one seed. It was executed that way here. So its
# numbers show what to look at, not how good a method is, and words such as "here" are about the
# digits.

# %%
import os
from pathlib import Path
from tempfile import TemporaryDirectory

# %%
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

# %%
from protein_robust import config, report, study
from protein_robust.datasets import Augmentation, ImageDataset
from protein_robust.datasets.images import Poses
from protein_robust.ingest.images import describe_images, read_images
from protein_robust.ingest.images.cifar import CIFAR10, CIFAR100
from protein_robust.ingest.images.reading import read_image_manifest

# %%
from protein_robust.noise import CLASS_MAPS, Classes, LabelRule, corrupt_labels
from protein_robust.report.figures import PALETTE

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 50}

# %% [markdown]
# `make notebooks` sets `PROTEIN_ROBUST_TEST_DATA=none`, so that no real image gets into a file of
# the repository.

# %%
root = Path("..") if Path.cwd().name == "notebooks" else Path()
usual = root / "results" / "cifar10_resnet56_symmetric_laptop"
may_be_real = os.environ.get("PROTEIN_ROBUST_TEST_DATA") != "none"
is_there = may_be_real and (usual / "study.json").exists()

# %% tags=["parameters"]
EPOCHS = 20  # of the small study
STUDY_FOLDER = os.environ.get("STUDY_FOLDER", usual if is_there else None)  # None: make it

# %% [markdown]
# ## The study
#
# The small one is `pipelines/digits.yaml`, shorter. It is without augmentation: shifting the images
# keeps so small a network from learning wrong labels by heart, and this is what we want to see.

# %%
folder = TemporaryDirectory()
changes = {"training.epochs": EPOCHS, "training.evaluate_every": 1}
changes |= {"output": f"{folder.name}/results", "data.output": f"{folder.name}/dataset"}
overrides = ["tracking.enabled=false", *(f"{name}={value}" for name, value in changes.items())]
digits = config.load_study(root / "pipelines" / "digits.yaml", overrides)

# %%
if STUDY_FOLDER is None:
    planned = study.plan_runs(digits, study.prepare_data(digits)[0]["digest"])
    chosen = ["CCE", "GCE", "DM", "ProSelfLC"]
    runs = study.select_runs(planned, noise=["label 40%"], loss=chosen)
    for run in runs:
        study.prepare_noise(run)

# %%
if STUDY_FOLDER is None:
    failures = study.run_all(runs)
else:
    runs = study.find_runs([Path(STUDY_FOLDER)])

# %%
first, dataset = runs[0], runs[0].dataset_folder
manifest = read_image_manifest(dataset)
about = {"study": first.study, "network": first.inputs["model"]["architecture"]}
about |= {"epochs": first.inputs["training"]["epochs"], **dict(describe_images(manifest))}
pd.Series(about, name="").to_frame()

# %% [markdown]
# What the runs left in their folders: the history, a row for each epoch, and what the final
# networks say of each training image. Of several noise settings the last one with wrong labels is
# looked at.

# %%
columns = ["image_name", "label", "clean_label", "is_corrupted", "prediction"]
columns += ["max_probability", "label_probability"]
predictions = study.collect_predictions(runs, "train", columns)
NOISE = predictions.loc[predictions["is_corrupted"], "noise"].iloc[-1]
predictions = predictions[predictions["noise"] == NOISE]
history = study.collect_history(runs).query("noise == @NOISE")

# %%
one_seed = predictions[predictions["seed"] == predictions["seed"].min()]
one_loss = one_seed[one_seed["loss"] == one_seed["loss"].iloc[0]]
print(f"{NOISE}: {one_loss['is_corrupted'].mean():.1%} of {len(one_loss):,} labels are wrong")

# %% [markdown]
# ## Which labels are wrong
#
# "Noise of 40 %" says little without the rule. Five rules with one rate, each on made-up labels,
# as many as CIFAR has training images and the same number of each class: the classes of CIFAR-10,
# and those of CIFAR-100 with their superclasses. No image is needed for that.
#
# * **symmetric**: any other class (`own_class: excluded`, the ProSelfLC authors), or any class, the
#   own one too (`included`, as DivideMix, ELR and Joint Optimisation do): then some of the chosen
#   labels stay right by chance.
# * **class map** of CIFAR-10: a truck becomes an automobile, a bird an airplane, a deer a horse, a
#   cat a dog and a dog a cat; the other five classes keep their labels (APL, ELR).
# * **asymmetric**, of CIFAR-100, is two kinds of noise under one name. `clan_pair`: in each
#   superclass two classes are drawn, and are mistaken for each other (SL, ProSelfLC, the talk).
#   `id_block`: every class becomes the next of five consecutive class *numbers* (APL, ELR, PLC and
#   others).

# %%
labels_of = {"CIFAR-10": np.repeat(np.arange(10), 5000), "CIFAR-100": np.repeat(range(100), 500)}
superclass = np.array(CIFAR100.superclass_of)
names = tuple(CIFAR100.superclasses[number] for number in superclass)
classes_of = {"CIFAR-10": Classes(CIFAR10.classes, (None,) * 10)}
classes_of["CIFAR-100"] = Classes(CIFAR100.classes, names)

# %%
rules = {"symmetric, excluded": LabelRule("symmetric", 0.4)}
rules["symmetric, included"] = LabelRule("symmetric", 0.4, own_class="included")
rules["class map"] = LabelRule("asymmetric", 0.4, class_map=CLASS_MAPS["cifar10"])
rules["clan_pair"] = LabelRule("clan_pair", 0.4)
rules["id_block"] = LabelRule("id_block", 0.4)

# %%
drawn, matrices = {}, {}
for name, rule in rules.items():
    of = "CIFAR-100" if rule.kind in ("clan_pair", "id_block") else "CIFAR-10"
    random = {"rule": rule, "rng": np.random.default_rng(0)}
    noise = drawn[name] = corrupt_labels(labels_of[of], classes_of[of], **random)
    matrices[name] = pd.crosstab(noise.clean_label, noise.label, normalize="index").to_numpy()

# %% [markdown]
# A transition matrix has a row for each clean class, a column for each given one; its diagonal is
# what stays right.

# %%
table = pd.DataFrame({"rate": {name: rule.rate for name, rule in rules.items()}})
table["wrong, of all labels"] = {name: noise.actual_rate for name, noise in drawn.items()}
wrong = {name: 1 - matrix.diagonal() for name, matrix in matrices.items()}
table["labels"] = {name: len(noise.label) for name, noise in drawn.items()}
table["classes"] = {name: len(rates) for name, rates in wrong.items()}
table["with wrong labels"] = {name: (rates > 0).sum() for name, rates in wrong.items()}

# %%
table["most wrong class"] = {name: rates.max() for name, rates in wrong.items()}
print(f"CIFAR-100: {len(CIFAR100.superclasses)} superclasses of {np.bincount(superclass).max()}")

# %%
hundred = {name: drawn[name] for name in ["clan_pair", "id_block"]}
for name, noise in hundred.items():
    stays = superclass[noise.label] == superclass[noise.clean_label]
    table.loc[name, "wrong, in the same superclass"] = stays[noise.is_changed].mean()
table.round(3)

# %% [markdown]
# With the own class included some of the chosen labels stay right: one over the number of classes.
# The class map touches half of the classes, so its rate is twice the share of wrong labels.
# `clan_pair` at 0.4 makes 16 % of the labels wrong, as two of five classes are drawn; `id_block`
# makes 40 % wrong. The two must not stand in one column of a table.

# %%
look = {"cmap": "Blues", "vmin": 0, "vmax": 1}
figure = Figure(figsize=(10.5, 3.4), layout="constrained")
axes = figure.subplots(1, 3, sharey=True)
for axis, name in zip(axes, [*rules][:3], strict=True):
    image = axis.imshow(matrices[name], **look)
    axis.set(title=name, xlabel="given class", ylabel="clean class")

# %%
for axis in axes:
    axis.set_xticks(range(10), CIFAR10.classes, rotation=90)
    axis.set_yticks(range(10), CIFAR10.classes)
    axis.label_outer()
figure.colorbar(image, ax=axes, format=PercentFormatter(1.0))
figure

# %% [markdown]
# The two asymmetric ones, classes first by number, which is the order of the alphabet, and below by
# superclass, with lines between superclasses.

# %%
orders = {"by number": np.arange(100), "by superclass": np.argsort(superclass, kind="stable")}
figure = Figure(figsize=(7.6, 7.2), layout="constrained")
axes = figure.subplots(2, 2)

# %%
for place, name in enumerate(hundred):
    for axis, (order_name, order) in zip(axes[:, place], orders.items(), strict=True):
        image = axis.imshow(matrices[name][np.ix_(order, order)], **look)
        axis.set(title=f"{name}, {order_name}", xlabel="given class", ylabel="clean class")

# %%
for axis in axes[1]:
    axis.set_xticks(np.arange(-0.5, 100, 5), [])
    axis.set_yticks(np.arange(-0.5, 100, 5), [])
    axis.grid(color="0.85", linewidth=0.5)
figure.colorbar(image, ax=axes, shrink=0.5, format=PercentFormatter(1.0))
figure

# %% [markdown]
# By number `id_block` looks orderly; by superclass it is scattered. So it is *no* noise between
# similar classes, although that is how it is often described: its blocks are neighbours in the
# alphabet.
#
# Labels that **people** gave are another thing altogether: hard images are wrong more often than
# easy ones. CIFAR-10N and CIFAR-100N (Wei et al., ICLR 2022; CC BY-NC 4.0) are files to be fetched
# by hand from `data/` of github.com/UCSC-REAL/cifar-10-100n. Name the file in `data.human_labels`
# of a study, and one of its annotations in the noise: `label: {kind: human, annotation: worse}`.
# `pipelines/cifar10n.yaml` is such a study; `data/README.md` says more.

# %% [markdown]
# ## What a batch looks like
#
# Each epoch shows each image in a new pose: shifted by some pixels (`pad`), mirrored with
# probability 1/2 (`flip`), turned by up to some degrees (`rotate`). What comes from outside is
# black. The label stays, right or wrong; so if an image is never seen twice in the same pose, its
# label is harder to learn by heart. Validation and test images, and all that is measured below, are
# as they are.

# %%
images = read_images(dataset, "train")[:10]
zeros, channels, height = np.zeros(10, np.int64), images.shape[3], images.shape[1]
as_is = {"mean": np.zeros(channels), "deviation": np.ones(channels)}  # values stay in [0, 1]
shown = ImageDataset.from_arrays(images, zeros, **as_is)

# %%
ways = {"as they are": {}, "pad": {"pad": height // 8}, "flip": {"flip": True}}
ways |= {"rotate": {"rotate": 15}, "all three": {"pad": height // 8, "flip": True, "rotate": 15}}
print({name: way for name, way in ways.items() if name != "as they are"})

# %%
rng, sheets = np.random.default_rng(1), {}
for name, way in ways.items():
    batch = shown.cut(np.arange(10), Poses.draw(10, Augmentation(**way), rng))
    rows = batch.inputs.permute(2, 0, 3, 1).clamp(0, 1).numpy()  # (H, B, W, C)
    rows = np.pad(rows, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=0.6)
    sheets[name] = rows.reshape(height, -1, channels)

# %%
figure = Figure(figsize=(9, 5.2), layout="constrained")
for axis, (name, sheet) in zip(figure.subplots(5, 1), sheets.items(), strict=True):
    axis.imshow(sheet, cmap="gray", interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.set_ylabel(name, fontsize=9)
figure

# %% [markdown]
# Augmentation has to suit the images. A mirrored ship is a ship, a mirrored 2 is no 2.

# %% [markdown]
# ## The six panels
#
# Let C be the training images with a right label, W those with a wrong one. Of an image the network
# has probabilities p (softmax at temperature 1, evaluation mode, no augmentation) and predicts the
# class argmax p; it was given the label ỹ, and y is the right one. H is the entropy, u the uniform
# distribution.
#
# * **correct fitting**, the share of C with argmax p = ỹ: how fast and how far right labels are
#   learnt. A method that resists everything is low here.
# * **wrong fitting**, the share of W with argmax p = ỹ: wrong labels learnt by heart. One over the
#   number of classes is chance.
# * **correction**, the share of W with argmax p = y: wrong labels that the network sees through. It
#   is *not* 1 - wrong fitting, as a third class may be predicted.
# * **entropy of the clean subset**, the mean of H(p)/H(u) over C: how unsure the network is where
#   labels are right; 0 is certain, 1 knows nothing.
# * **entropy of the noisy subset**, the same over W. A gap between the two tells right from wrong;
#   where both go to 0 along with high wrong fitting, the network is sure of what is wrong.
# * **generalisation**, the share of the test images with argmax p = y, whose labels are right:
#   whether the last epoch is the best one. Where it is not, see whether the fall comes with wrong
#   fitting.
#
# They are those of the talk and of Fig. 3 of the ProSelfLC paper. In the authors' public logs the
# training images are augmented when they are measured, so values may differ for that alone.

# %%
report.training_dynamics(history)[NOISE]

# %%
losses = study.losses_of(runs)
measured = history.dropna(subset=["train/noisy_histogram"])
by_run = measured.sort_values("epoch").groupby(["loss", "seed"])
panels = {"train/correct_fitting": "correct fitting", "train/wrong_fitting": "wrong fitting"}
panels |= {"train/correction": "correction", "test/accuracy": "test, last epoch"}

# %%
summary = by_run[[*panels]].last().groupby("loss").mean().rename(columns=panels).loc[[*losses]]
summary["test, best epoch"] = by_run["test/accuracy"].max().groupby("loss").mean()
summary.round(3)

# %% [markdown]
# Here cross entropy (CCE) first learns what is right, and is best then; later it learns the wrong
# labels by heart, correction falls to nearly nothing, and test accuracy falls with it. GCE slows
# this down, DM nearly stops it, at the price of a slow start. ProSelfLC goes the way of cross
# entropy in this training: it trusts the network only late, and by then most of the wrong labels
# have been learnt, so that it trusts those. Its parameters come from a much longer training with
# augmentation; with some here (`augmentation.pad` 1 above) the order is another one.
#
# What these losses say of themselves: how far ProSelfLC trusts the network, g, and a prediction, l,
# and how the weights of DM are spread.

# %%
report.trust_and_emphasis(history).get(NOISE)

# %% [markdown]
# ## How probable are the labels
#
# Behind the panels are histograms of p_y, the probability that the network gives to the given
# label. The history has them, in 20 bins, for every epoch that was measured. First after a quarter
# of the training, then at the end:

# %%
epochs = np.sort(measured["epoch"].unique())
early, last, kinds = epochs[len(epochs) // 4], epochs[-1], {"clean": False, "noisy": True}
at = measured.set_index(["epoch", "loss"])
counts = {kind: at[f"train/{name}_histogram"].explode() for name, kind in kinds.items()}
bins = pd.concat(counts, names=["is_corrupted"]).astype(float).rename("count").reset_index()
bins["label_probability"] = (np.arange(len(bins)) % 20 + 0.5) / 20

# %%
title = f"{NOISE}, epoch {early}"
report.label_probability_histogram(bins[bins["epoch"] == early], title=title)

# %%
report.label_probability_histogram(bins[bins["epoch"] == last], title=f"{NOISE}, epoch {last}")

# %% [markdown]
# Early, the wrong labels lie nearer to 0 than the right ones under every loss. They leave that
# place under cross entropy, which pulls hardest just there. The *emphasis* of a loss is how hard it
# pulls, given p_y: the middle panel (`02_losses_and_emphasis` has more of that).

# %%
size = manifest["counts"]["families"]
report.loss_shapes(losses, num_classes=size)

# %% [markdown]
# Put both together: the histogram times the emphasis is how much of the whole pull of an epoch
# comes from wrong labels. For the early network of the first loss, the same for all, so that only
# the emphasis differs. (Bin by bin, the rest of the probability spread evenly; for ProSelfLC, whose
# pull depends on more than p_y, this is rough.)

# %%
start, at = runs[0].loss_label, {"num_classes": size, "num_points": 20, "progress": early / last}
curves = report.loss_curves(losses, **at)  # a point for each bin
emphasis = curves.pivot(index="label_probability", columns="loss", values="magnitude")
of_start = bins.query("epoch == @early and loss == @start")
grouped = of_start.groupby(["is_corrupted", "label_probability"])["count"].sum().unstack(0)

# %%
pull = emphasis[[name for name in losses if name in emphasis]].assign(images=1.0)
wrong, whole = grouped[True].to_numpy() @ pull, grouped.sum(axis=1).to_numpy() @ pull
print(f"network of {start}, epoch {early}: share of wrong labels in the pull, and of the images")
(wrong / whole).round(3).to_frame("share").T

# %% [markdown]
# Cross entropy, and ProSelfLC, which is much like it at that time, get more of their pull from
# wrong labels than there are wrong labels; GCE about as much as there are; DM less. The more of the
# pull, the sooner they are fitted.

# %% [markdown]
# ## The curator's view
#
# A curator has labels and predictions, and does not know which labels are wrong. Where p_y is small
# the network contradicts the label. Look first at the images with the smallest p_y: how many of
# those labels are wrong indeed (*precision*), and how many of all wrong labels are among them
# (*recall*)? Here both can be counted.

# %%
groups = one_seed.sort_values("label_probability", kind="stable").groupby("loss", sort=False)
ranked = {loss: part["is_corrupted"].to_numpy() for loss, part in groups}
cuts = {f"{x:.0%}": round(x * len(one_loss)) for x in [0.05, 0.1, 0.2, 0.3, 0.4]}
precision = {share: {n: x[:cut].mean() for n, x in ranked.items()} for share, cut in cuts.items()}

# %%
found = {share: {n: x[:cut].sum() for n, x in ranked.items()} for share, cut in cuts.items()}
recall = pd.DataFrame(found) / one_loss["is_corrupted"].sum()
table = pd.concat({"precision": pd.DataFrame(precision), "recall": recall}, axis=1)
table.loc[[*losses]].rename_axis(columns=["", "looked at"]).round(3)

# %% [markdown]
# A list drawn by lot would have the share of wrong labels of the whole as its precision, which is
# printed at the end of "The study". A network that has learnt the wrong labels by heart still finds
# some of them, as it makes the right ones a little more probable; one that resisted finds nearly
# all.
#
# With a bound on p_y in place of a share the network decides how long the list is. The loss from
# here on is `LOSS`, that with the highest test accuracy, as test labels are right; a curator would
# take some labels that can be trusted. Change it to see another one.

# %%
LOSS = summary["test, last epoch"].idxmax()
judged = one_seed[one_seed["loss"] == LOSS]
bounds = {bound: judged[judged["label_probability"] < bound] for bound in [0.001, 0.01, 0.1, 0.5]}
table = pd.DataFrame({"looked at": {bound: len(part) for bound, part in bounds.items()}})

# %%
table["precision"] = {bound: part["is_corrupted"].mean() for bound, part in bounds.items()}
found = {bound: part["is_corrupted"].sum() for bound, part in bounds.items()}
table["recall"] = pd.Series(found) / judged["is_corrupted"].sum()
table.rename_axis(f"{LOSS}: p_y below").round(3)

# %% [markdown]
# Three rows of images. **Corrected**: a wrong label, and the network predicts the class as it was;
# drawn at random. **Surest**: against its label, whatever that is; the curator's list begins with
# those. **False alarm**: a label that is right and contradicted, with the smallest p_y. Above each
# image the given label, the predicted class and the clean one; orange where the label is wrong.

# %%
is_other = judged["prediction"] != judged["label"]
corrected = judged[judged["is_corrupted"] & (judged["prediction"] == judged["clean_label"])]
kinds = {"corrected": corrected.sample(min(8, len(corrected)), random_state=0)}
kinds["surest"] = judged[is_other].nlargest(8, "max_probability")
doubted = judged[is_other & ~judged["is_corrupted"]]
kinds["false alarm"] = doubted.nsmallest(8, "label_probability")

# %%
figure = Figure(figsize=(10.5, 5.8), layout="constrained")
images, axes = read_images(dataset, "train"), figure.subplots(3, 8)
for axis, (kind, part) in zip(axes[:, 0], kinds.items(), strict=True):
    axis.set_ylabel(f"{kind}\n({len(part)} shown)")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[], frame_on=False)

# %%
for part, row in zip(kinds.values(), axes, strict=True):
    for axis, example in zip(row, part.itertuples(), strict=False):
        axis.imshow(images[example.row], cmap="gray")
        title = f"given {example.label}\npredicted {example.prediction}\nwas {example.clean_label}"
        axis.set_title(title, fontsize=7, color=PALETTE[1] if example.is_corrupted else "black")
figure

# %%
print(f"{LOSS}: wrong labels corrected: {len(corrected)}; right ones contradicted: {len(doubted)}")

# %% [markdown]
# Look whether you would agree with the network. What it says is a reason to look, not a verdict:
# sure it is of mistakes as well.

# %% [markdown]
# ## Published numbers beside
#
# **Published**, typed from the papers, test accuracy in percent: of the last epoch (*final*), and
# of the epoch that was best on the test data (*best*). They are of other sizes than anything made
# here: images of CIFAR, all of them, larger networks, longer trainings. Nothing here says that our
# numbers reproduce them.
#
# CIFAR-10, ResNet-56, symmetric noise of 40 %: derivative manipulation (arXiv 1905.11233, DM) and
# IMAE (arXiv 1903.12141), which also gives the final correct and wrong fitting.

# %%
rows = [["DM, Table 9", "CCE", 82.8, 60.9, "", ""]]
rows += [["DM, Table 9", "DM, λ = 0.5, β = 12", 85.1, 79.9, "", ""]]
rows += [["DM, Table 9", "DM, λ = 1, β = 16", 84.7, 83.3, "", ""]]
rows += [["DM, Table 9", "DM, λ = 2, β = 20", 52.7, 52.7, "", ""]]

# %%
rows += [["IMAE, Table 6", "CCE", 81.6, 63.3, 96.2, 75.0]]
rows += [["IMAE, Table 6", "MAE", 67.0, 66.9, 74.3, 8.1]]
rows += [["IMAE, Table 6", "IMAE", 82.2, 81.5, 93.1, 6.5]]
columns = ["published in", "method", "best", "final", "correct fitting", "wrong fitting"]
pd.DataFrame(rows, columns=columns).set_index(columns[:2])

# %% [markdown]
# CIFAR-100, ResNet-44, both kinds of noise at 0.4, final (ProSelfLC, CVPR 2021, arXiv 2005.03788).
# Asymmetric is `clan_pair` there. Of each method with a parameter the best of those tried *by
# column*, so that two columns may be of two settings. The last three columns are read off Fig. 3
# by eye, for the asymmetric noise.

# %%
rows = [["CCE", 59.5, 50.1, 95, 64, 33], ["label smoothing", 65.0, 57.2, "", 34, 61]]
rows += [["confidence penalty", 64.4, 56.8, "", 25, 68], ["Boot-soft", 61.0, 59.0, "", 55, 40]]
rows += [["ProSelfLC", 67.9, 59.3, 89, 14, 75]]
columns = ["method", "asymmetric", "symmetric", "correct fitting", "wrong fitting", "correction"]
pd.DataFrame(rows, columns=columns).set_index("method")

# %% [markdown]
# **This study**, in percent too; *best* again chosen by the test data, as they did. With
# validation data that would be another epoch.

# %%
sizes = f"{manifest['counts']['train']:,} training images of {about['set of images']}"
print(f"{sizes}, {about['network']}, {about['epochs']} epochs, {NOISE}")
short = {"test, best epoch": "best", "test, last epoch": "final"}
ours = summary.rename(columns=short).mul(100).round(1)
ours[["best", "final", "correct fitting", "wrong fitting", "correction"]]

# %% [markdown]
# What can be held against each other is the shape: where final is far below best, look for wrong
# labels that were learnt. Whether the numbers agree is a question for the whole study, on CIFAR,
# with several seeds.

# %%
folder.cleanup()
