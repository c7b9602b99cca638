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
# # The protein table
#
# For those who have run a study, here or on another machine, and want its table and figures again,
# in another form, or beside those of another study. MLflow has kept every number; here they are
# read back.
#
# As it stands, the notebook first makes a **small** study of its own: **synthetic** sequences (ten
# families of the embedded example), three losses, a **short** training, one seed. So the numbers
# show how the library is used, not how good a method is.
#
# To look at your own study, change three lines. `URI` is where MLflow keeps it: a file,
# `sqlite:///../mlflow.db`, or a server, `http://127.0.0.1:5000`. `STUDY` is its name, and `RESULTS`
# its folder, such as `../results/example`, which only the last section needs.

# %% tags=["parameters"]
EPOCHS = 8  # of the small study
URI = None  # None: make the small study first
STUDY = "example"
RESULTS = None

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

# %%
import numpy as np
import pandas as pd
from IPython.display import display
from IPython.utils.capture import capture_output

# %%
from protein_robust import pipeline, report, study
from protein_robust.report.comparisons import comparisons_display
from protein_robust.study.noise_rates import rate_groups
from protein_robust.tracking.reading import read_history, read_results, read_table

# %%
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 70}

# %% [markdown]
# ## A small study
#
# On the command line this is `python -m protein_robust.pipeline run pipelines/example.yaml`, with a
# `--set` for each entry that shall be another one. Everything goes into a temporary folder, the
# database of MLflow too.

# %%
folder = TemporaryDirectory()
root = Path("..") if Path.cwd().name == "notebooks" else Path()
places = {"tracking.uri": f"sqlite:///{folder.name}/mlflow.db"}
places |= {"output": f"{folder.name}/results", "data.output": f"{folder.name}/dataset"}

# %%
losses = ["{name: cross_entropy, label: CCE}", "{name: label_smoothing, label: LS, epsilon: 0.25}"]
losses += ["{name: proselflc, label: ProSelfLC, exp_base: 12, temperature: 0.5}"]
entries = places | {"data.num_families": 10, "training.epochs": EPOCHS}
entries |= {"losses": f"[{', '.join(losses)}]"}
command = ["run", str(root / "pipelines" / "example.yaml"), "--jobs", "1"]
command += [word for name, value in entries.items() for word in ("--set", f"{name}={value}")]

# %%
if URI is None:
    with capture_output():  # progress bars, the tables, links to MLflow's pages
        pipeline.main(command)
    URI, RESULTS = places["tracking.uri"], places["output"]

# %% [markdown]
# ## What MLflow has
#
# One row a value: of which noise setting, loss and seed; of the network after the last epoch
# (*final*) or of that with the highest validation accuracy (*best*); of which data.

# %%
results = read_results(URI, STUDY)
results.groupby("data", sort=False)["metric"].agg(["size", "nunique"])

# %%
results.query("metric == 'accuracy' and checkpoint == 'final'").head(8)

# %% [markdown]
# ## The table
#
# Rows and columns as in the talk. Percent; test labels are right, train accuracy is against the
# labels that were given, wrong ones included. `max p` and `1 - H(p)/H(u)` say how confident a
# network is, not whether it is right to be. `*` marks the best of a row.

# %%
table = report.talk_table(results)
report.display_frame(table, best=("", " *")).set_index(["noise", "metric", "data"])

# %% [markdown]
# The same as a figure, for a slide (`figure.savefig("table.svg")`), and as Markdown or HTML:
# `report.markdown(table, title)`, `report.html_page(table, title)`.

# %%
report.protein_table_figure(results)

# %% [markdown]
# With right labels the three methods are alike, but that label smoothing (LS) is less confident,
# which is what it is for. With 40 % wrong labels, all three still predict nearly every test family.
# On the training data none gets far above 60 %, the share of right labels: in so short a training
# few wrong ones were learnt. What differs is confidence. Cross entropy (CCE) claims about one
# half where it is right nearly always; ProSelfLC, which comes to trust its own predictions, claims
# more.

# %%
report.method_comparison(results)

# %% [markdown]
# ## Epoch by epoch
#
# What happened to right and to wrong labels, for each noise setting that the study has:

# %%
history = read_history(URI, STUDY)
dynamics = report.training_dynamics(history)
list(dynamics)

# %% [markdown]
# *Wrong fitting* is the share of wrong labels that the network repeats, *correction* the share for
# which it predicts the true family although it was told another.

# %%
list(dynamics.values())[-1]

# %% [markdown]
# ## Tables of each run
#
# A run keeps more than single values: accuracy by group (`groups`), `reliability`, `risk_coverage`,
# `kept_fractions`, `unknown`. Here test sequences cut to a fixed share of their length:

# %%
kept = report.robustness_by_kept_fraction(read_table(URI, STUDY, "kept_fractions"))
list(kept.values())[-1]

# %% [markdown]
# Parts of less than half were never seen in training, and all methods lose alike there.
#
# By size of the family, by length, and by the part that is seen, of the test sequences as they are
# cropped; mind the intervals where there are few:

# %%
by_size = report.accuracy_by_group(read_table(URI, STUDY, "groups"))
list(by_size.values())[-1]

# %% [markdown]
# ## With the study's folder
#
# The folder has the predictions too, one row for each test sequence. So it can be asked whether two
# methods differ by more than chance, on the same sequences: *right only* counts those that one of
# the two gets right and the other does not.

# %%
runs = study.find_runs([Path(RESULTS)])
comparisons = report.compare_methods(study.collect_predictions(runs), np.random.default_rng(0))
comparisons_display(comparisons)

# %% [markdown]
# No method is better than another in these hundred test sequences, where two or three make all the
# difference; and with one seed there is no telling what another seed would change (*over seeds*).
# `pipelines/example_seeds.yaml` has several.
#
# Settings that differ only in the rate of wrong labels can be put on one axis. The folder knows
# which ones they are:

# %%
by_rate = report.robustness_by_rate(results, rate_groups(runs))
display(*by_rate.values())

# %% [markdown]
# Is what MLflow has what the study wrote? Every number of the table, to the last digit:

# %%
of_file = pd.read_csv(Path(RESULTS) / "table.csv")
of_mlflow = report.number_frame(table)
of_mlflow.equals(of_file)

# %%
folder.cleanup()
