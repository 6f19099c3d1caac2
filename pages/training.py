"""Fine-tune from the browser: pick data and recipe, start, watch, stop or resume, compare, and use the result."""

from itertools import cycle
from typing import Any

import streamlit as st

from rcdnet.errors import RcdnetError
from rcdnet.registry import MODELS
from train import form, jobs, outcome, watch
from train.access import refusal
from train.config import PRESETS
from train.devices import devices
from train.pace import estimate
from train.places import data_root
from train.results import bundled

if "framed" not in st.session_state:  # a direct link runs this file without app.py; go through it
    st.session_state["wanted_page"] = "training"
    st.switch_page("app.py")

RUNS, ROOT, state = jobs.RUNS_FOLDER, data_root(), st.session_state
OLD, NEW = "Runs", "New run"
TOOLBAR = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}


def fill_in(values: dict) -> None:
    state.update({f"{form.KEY}{name}": value for name, value in values.items()})


def act(action, *arguments, view: str = OLD, run: str = "") -> None:
    """Do what a button asks, then show `view`; what went wrong is said at the top of the page."""
    state["training_acted"] = True
    try:
        action(*arguments)
        state["keep_training_view"], state["keep_run"] = view, run or state.get("keep_run")
    except RcdnetError as error:
        state["training_error"] = str(error)


def new_run() -> None:
    starts, there = form.starts(RUNS), devices()
    if state.get(f"{form.KEY}init") not in starts:
        fill_in(form.preset_values("scratch"))
    left, middle, right = st.columns(3, gap="medium")
    state[f"{form.KEY}data"] = [title for title in state.get(f"{form.KEY}data", []) if title in form.data_titles(ROOT)]
    chosen = left.multiselect("Data", form.data_titles(ROOT), key=f"{form.KEY}data", help=form.DATA_HELP)
    slots = {"data": left.empty()}
    models = left.multiselect("Models, one after the other", list(MODELS), key=f"{form.KEY}models")
    slots["model"] = left.empty()
    recipe = middle.segmented_control("Recipe", list(PRESETS), default="scratch", required=True, help=form.RECIPE_HELP)
    middle.button("Fill in this recipe", on_click=fill_in, args=(form.preset_values(str(recipe)),))
    start = middle.selectbox("Start from", list(starts), key=f"{form.KEY}init", help=form.START_HELP)
    values: dict[str, Any] = {"init": starts[start]}
    slots["init"] = middle.empty()
    device = right.selectbox("Device", list(there), format_func=lambda key: there[key])
    name = right.text_input("Name", form.suggested_name(models, RUNS))
    slots["name"] = right.empty()
    with st.expander("All settings"):
        for column, f in zip(cycle(st.columns(5)), form.FIELDS, strict=False):
            with column:
                widget = st.selectbox if f.choices else st.toggle if f.kind is bool else st.number_input
                values[f.name], slots[f.name] = widget(**f.given), st.empty()
    with st.spinner("Looking the data through"):
        draft = form.draft(models, values, chosen, name, RUNS, ROOT)
    for setting, sentence in draft.mistakes.items():
        slots[setting].caption(f":red[{sentence}]")
    left.caption("  \n".join(draft.found))
    if not barred:
        first, idle = next(iter(draft.configs), ""), not draft.configs
        todo = (jobs.submit_all, draft.configs, device)
        right.button("Start", type="primary", disabled=idle, on_click=act, args=todo, kwargs={"run": first})
        if right.button("How long will it take?", disabled=idle):
            with right, st.spinner("Trying a few steps"):
                st.info(estimate(draft.configs, draft.images, device))


def buttons(view: watch.View) -> None:
    run, columns = RUNS / view.name, st.columns(5)
    for column, (label, action, possible) in zip(columns, outcome.actions(view), strict=False):
        column.button(label, disabled=not possible, on_click=act, args=(action, run), width="stretch")
    todo = (fill_in, form.shown_values(view.config, RUNS) | {"models": [view.config.model]})
    columns[3].button("Clone settings", on_click=act, args=todo, kwargs={"view": NEW}, width="stretch")
    with columns[4].popover("Delete", disabled=view.state.alive, width="stretch"):
        st.markdown(f"Delete **{view.name}** with its weights and figures? This cannot be undone.")
        st.button("Delete for good", on_click=act, args=(jobs.delete, run))


def old_runs() -> None:
    found, refused = watch.views(RUNS)
    st.caption("  \n".join(refused.values()))
    if not found:
        st.info("There is no run yet. Begin with a new one.")
        return
    views = {view.name: view for view in found}
    if state.get("keep_run") not in views:
        state["keep_run"] = found[0].name
    st.dataframe(outcome.runs_table(found), hide_index=True, height=250 if len(found) > 6 else "content")
    left, right = st.columns(2)
    name = left.selectbox("Run", list(views), key="keep_run")
    state["keep_beside"] = [other for other in state.get("keep_beside", []) if other in views and other != name]
    beside = right.multiselect("Beside it", [other for other in views if other != name], key="keep_beside")

    @st.fragment(run_every=2 if any(view.state.alive for view in found) else None)
    def live() -> None:
        now = watch.views_of([name, *beside], RUNS)
        changed = len(now) <= len(beside) or now[0].state != views[name].state  # or deleted, in another tab
        if state.pop("training_acted", False) or changed:  # a button in here reruns no more than this
            st.rerun()
        view, *others = now
        st.subheader(view.sentence)
        st.progress(view.progress)
        st.markdown(f"{view.message} {view.pace}")
        if not barred:
            buttons(view)
        columns, epochs = st.columns([3, 2], gap="medium"), [e.epoch for e in view.epochs if e.roc]
        epoch = columns[1].select_slider("ROC curve after epoch", epochs, epochs[-1]) if epochs[1:] else sum(epochs)
        for column, figure in zip(columns, outcome.live_charts(view, others, epoch, bundled()), strict=False):
            column.plotly_chart(figure, config=TOOLBAR, key=f"live {columns.index(column)}")
        if others:
            st.dataframe(watch.differing([view, *others]), hide_index=True, height="content")
        st.expander("Log").code(view.log or "Nothing yet.", language=None)

    live()
    for exhibit in outcome.exhibits([name, *beside], found, RUNS):
        st.markdown(f"#### {exhibit.title}\n{exhibit.text}")
        left, right = st.columns([3, 2], gap="medium")
        left.dataframe(exhibit.table, hide_index=True, height="content")
        left.download_button("Figures as CSV", exhibit.csv, "figures.csv", "text/csv", key=f"csv {exhibit.title}")
        if exhibit.figure is not None:
            right.plotly_chart(exhibit.figure, config=TOOLBAR, key=exhibit.title)
    for column, image in zip(cycle(st.columns(outcome.WORST)), outcome.worst_images(RUNS / name), strict=False):
        column.image(image.url, alt=image.id, caption=image.caption)


allowed = st.secrets.get("training", {}).get("allowed", []) if st.secrets.load_if_toml_exists() else []
barred = refusal(dict(st.user) or None, allowed, st.get_option("server.address"))
st.title("Train")
if barred:
    st.info(barred)
    if st.user and not st.user.get("is_logged_in"):
        st.button("Sign in", on_click=st.login)
state.pop("training_acted", None)
if wrong := state.pop("training_error", ""):
    st.error(wrong)
jobs.wake(RUNS)
state.setdefault("keep_training_view", OLD if jobs.runs_in(RUNS) else NEW)
views = {OLD: old_runs, NEW: new_run}
views[str(st.segmented_control("View", list(views), required=True, key="keep_training_view"))]()
