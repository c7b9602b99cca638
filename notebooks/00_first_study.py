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
# # A first study
#
# A *study* trains one network under several losses, on the same sequences with the same wrong
# labels, and compares what came of it. Here: three losses, 40 % of the training labels wrong.
#
# The sequences are **synthetic**: 20 families, made by a model of protein evolution so that the
# wrong labels are known. The training is **short** (about half a minute on one core), much shorter
# than in `pipelines/example.yaml`, with one seed. So this shows how the library is used, not how
# good a method is.

# %% tags=["parameters"]
EPOCHS = 8

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from protein_robust import config, ingest, report, study

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 80}

# %% [markdown]
# ## Read a study
#
# A study is one YAML file. Its entries can be replaced when it is read, as `--set` does on the
# command line. Everything goes into a temporary folder, and MLflow is left out.

# %%
folder = TemporaryDirectory()
root = Path("..") if Path.cwd().name == "notebooks" else Path()
overrides = ["tracking.enabled=false", f"training.epochs={EPOCHS}", f"output={folder.name}/results"]
overrides += [f"data.output={folder.name}/dataset"]
first = config.load_study(root / "pipelines" / "example.yaml", overrides)

# %%
[loss.label for loss in first.losses], [noise.name for noise in first.noise]

# %% [markdown]
# ## Ingest the data
#
# Sequences are checked, freed of duplicates and divided into train, valid and test. Whatever is
# dropped or unusual is counted.

# %%
manifest, _ = study.prepare_data(first)
pd.Series(dict(ingest.describe(manifest)), name="").to_frame()

# %% [markdown]
# ## Plan the runs
#
# There is one run for each noise setting, seed and loss. Three of the twelve will do: cross entropy
# (CCE), derivative manipulation (DM) and ProSelfLC, under wrong labels. There the network also sees
# only a random part, 50 to 100 %, of each sequence.

# %%
planned = study.plan_runs(first, manifest["digest"])
chosen_losses = ["CCE", "DM", "ProSelfLC"]
planned = study.select_runs(planned, noise=["crop + label 40%"], loss=chosen_losses)
[run.name for run in planned]

# %% [markdown]
# The wrong labels are drawn before any training, from the seed alone, so all three losses meet the
# same ones. Validation and test labels stay right.

# %%
for run in planned:
    study.prepare_noise(run)

# %% [markdown]
# ## Train and evaluate
#
# Each run ends with its checkpoints, metrics and predictions in a folder. The list is of runs that
# failed.

# %%
study.run_all(planned)

# %% [markdown]
# ## Compare
#
# Percent. Test labels are clean; train accuracy is against the given labels, 40 % of them wrong, so
# a network that believes none of those reaches 60 %. `max p` and `1 - H(p)/H(u)` say how confident
# a network is, not whether it is right to be. `*` marks the best of a row.

# %%
results = study.collect_results(planned)
table = report.display_frame(report.talk_table(results), best=("", " *"))
table.set_index(["noise", "metric", "data"])

# %% [markdown]
# What happened to clean and to wrong labels, epoch by epoch: *wrong fitting* is the share of wrong
# labels that the network repeats, *correction* the share for which it predicts the true family
# although it was told another.

# %%
report.training_dynamics(study.collect_history(planned))["crop + label 40%"]

# %%
report.method_comparison(results)

# %% [markdown]
# Eight epochs are few. Cross entropy has not yet begun to learn the wrong labels by heart, and DM
# is still learning the right ones; after the 25 epochs of `pipelines/example.yaml` DM is ahead of
# cross entropy. To compare methods, train to the end, with several seeds.

# %% [markdown]
# ## The curator's view
#
# Which training labels does the network trained with ProSelfLC refuse? `predictions.parquet` has a
# row for each sequence. Those whose given label is not the prediction are sorted by the confidence
# of the prediction.

# %%
chosen = next(run for run in planned if run.loss_label == "ProSelfLC")
predictions = pd.read_parquet(chosen.folder / "predictions.parquet")
train = predictions.query("checkpoint == 'final' and data == 'train'")
refused = train[train["label"] != train["prediction"]]
refused = refused.sort_values("max_probability", ascending=False)

# %%
columns = ["sequence_name", "label", "prediction", "max_probability", "clean_label"]
refused[columns].head(10).round(4)

# %% [markdown]
# On real data nobody could fill in `clean_label`. Here it is known: how many of the 50 most
# confidently refused labels were truly corrupted, and for how many the prediction is the true
# family (*mended*), beside the share of corrupted labels among all.

# %%
top = refused.head(50)
is_mended = top["prediction"] == top["clean_label"]
print(f"of {len(top)} at the top: {top['is_corrupted'].sum()} corrupted, {is_mended.sum()} mended")
print(f"of {len(refused)} refused: {refused['is_corrupted'].mean():.1%} corrupted")
print(f"of all {len(train)} training labels: {train['is_corrupted'].mean():.1%} corrupted")

# %% [markdown]
# A list like this is a place to begin reading, not a verdict. These labels were made wrong at
# random; mistakes of people and of pipelines fall between similar families and are harder to see.

# %%
folder.cleanup()
