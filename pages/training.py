"""Fine-tune from the browser: pick data and recipe, start, watch, stop or resume, compare, and use the result."""

from itertools import cycle
from typing import Any

import streamlit as st

from pages.shared.access_control import training_denied_reason
from pages.shared.markdown_escape import escape_markdown
from pages.shared.widget_state import PERSIST, set_widget_values
from rcdnet.errors import RcdnetError
from rcdnet.models.registry import MODELS
from train.config import TrainConfig
from train.folders import RUNS_FOLDER
from train.presets import PRESETS
from train.results.load_results import load_bundled_results
from train.results.report_block import ReportBlock
from train.runs import external_test_from_page, jobs, run_results, training_form, watch
from train.runs.data_locations import PHANTOMS, data_root
from train.runs.devices import devices
from train.runs.pace import estimate
from train.runs.run_state import runs_in

if "framed" not in st.session_state:  # a direct link runs this file without app.py; go through it
    st.session_state["wanted_page"] = "training"
    st.switch_page("app.py")

RUNS, ROOT, OLD, NEW = RUNS_FOLDER, data_root(), "Runs", "New run"
state: Any = st.session_state  # typed as a mapping of its own kind
TOOLBAR = {"displaylogo": False, "toImageButtonOptions": {"format": "svg"}}
state.setdefault("training_round", 0)


def fill_in(values: dict) -> None:
    set_widget_values(**{f"{training_form.KEY}{name}": value for name, value in values.items()})


def clone(config: TrainConfig) -> None:
    fill_in(training_form.cloned_values(config, RUNS, ROOT))


def act(action, *arguments, view: str = OLD, run: str = "") -> None:
    """Do what a button asks, then show `view`, in new widgets: what the browser says of the old ones may come after this."""
    state["training_acted"], state["training_round"] = True, state["training_round"] + 1
    try:
        action(*arguments)
        state["training_view"], state["training_run"] = view, run or state.get("training_run")
    except (RcdnetError, OSError) as error:
        state["training_error"] = str(error)


def new_run() -> None:
    starts, there, titles = training_form.starts(RUNS), devices(), training_form.data_titles(ROOT)
    filled, gone = training_form.start_values(state, starts, there, titles)
    fill_in(filled)
    st.caption(gone)
    left, middle, right = st.columns(3, gap="medium")
    chosen = left.multiselect("Data", titles, key=f"{training_form.KEY}data", help=training_form.DATA_HELP, **PERSIST)
    models = left.multiselect("Models, one after the other", list(MODELS), key=f"{training_form.KEY}models", **PERSIST)
    recipe = f"{training_form.KEY}recipe"

    def fill_in_recipe() -> None:
        fill_in(training_form.preset_values(state[recipe]))

    middle.segmented_control(
        "Recipe",
        list(PRESETS),
        required=True,
        help=training_form.RECIPE_HELP,
        key=recipe,
        on_change=fill_in_recipe,
        **PERSIST,
    )
    changed = middle.empty()
    start = middle.selectbox(
        "Start from", list(starts), key=f"{training_form.KEY}init", help=training_form.START_HELP, **PERSIST
    )
    values: dict[str, Any] = {"init": starts[start]}
    device = right.selectbox(
        "Device", list(there), format_func=lambda key: there[key], key=f"{training_form.KEY}device", **PERSIST
    )
    suggested = training_form.suggested_name(models, RUNS)
    name = right.text_input("Name", key=f"{training_form.KEY}name", placeholder=suggested, **PERSIST) or suggested
    with st.expander("All settings"):
        for column, f in zip(cycle(st.columns(5)), training_form.FIELDS, strict=False):
            with column:
                widget = st.selectbox if f.choices else st.toggle if f.kind is bool else st.number_input
                values[f.name] = widget(**f.given, **PERSIST)
    with st.spinner("Checking the data"):
        draft = training_form.draft(models, values, chosen, name, RUNS, ROOT)
    left.caption("  \n".join(map(escape_markdown, [*draft.found, draft.split])))
    if differing := training_form.differing(values | {"init": start}, state[recipe]):
        with changed.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Changed: {', '.join(name.replace('_', ' ') for name in differing)}.")
            st.button("Fill in this recipe", on_click=fill_in_recipe)
    # Not as a callback, which would start what the form said before the last change.
    if right.button("Start", type="primary", disabled=not draft.configs) and draft.configs:
        act(jobs.submit_all, draft.configs, device, RUNS, ROOT, run=next(iter(draft.configs)))
        st.rerun()
    for sentence in draft.mistakes.values():  # beside what they hinder; a field may lie in a closed panel
        right.caption(f":red[{escape_markdown(sentence)}]")
    if right.button("How long will it take?", disabled=not draft.configs):
        with right, st.spinner("Trying a few steps"):
            st.info(escape_markdown(estimate(draft.configs, draft.images, device)))


def buttons(view: watch.View) -> None:
    run, columns = RUNS / view.name, st.columns(5)
    for column, (label, action, possible) in zip(columns, run_results.actions(view), strict=False):
        column.button(label, disabled=not possible, on_click=act, args=(action, run), width="stretch")
    columns[3].button("Clone settings", on_click=act, args=(clone, view.config), kwargs={"view": NEW}, width="stretch")
    with columns[4].popover("Delete", disabled=view.state.alive, width="stretch"):
        st.markdown(f"Delete **{view.name}** with its weights and figures? This cannot be undone.")
        st.button("Delete for good", on_click=act, args=(jobs.delete, run))


def show(block: ReportBlock) -> None:
    st.markdown(f"#### {escape_markdown(block.title)}\n{escape_markdown(block.text)}")
    left, right = st.columns([3, 2], gap="medium")
    left.dataframe(block.table, hide_index=True, height="content")
    left.download_button(
        "Figures as CSV",
        block.csv.encode("utf-8-sig"),
        "figures.csv",
        "text/csv",
        key=f"csv {block.title}",
        on_click="ignore",
    )
    if block.figure is not None:
        right.plotly_chart(block.figure, config=TOOLBAR, key=block.title)


def old_runs() -> None:
    found, refused = watch.views(RUNS)
    st.caption("  \n".join(map(escape_markdown, refused.values())))
    if not found:
        st.info("No run can be shown." if refused else "There is no run yet. Start a new one.")
        return
    names = [view.name for view in found]
    at = names.index(state.training_run) if state.get("training_run") in names else 0
    left, right = st.columns(2)
    name = state["training_run"] = left.selectbox("Run", names, at, key=f"run {state['training_round']}")
    set_widget_values(keep_beside=[other for other in state.get("keep_beside", []) if other in names and other != name])
    beside = right.multiselect(
        "Compare with", [other for other in names if other != name], key="keep_beside", **PERSIST
    )

    @st.fragment(run_every=2 if any(view.state.alive for view in found) else None)
    def live() -> None:
        jobs.ensure_workers(RUNS)
        now = {view.name: view for view in watch.views(RUNS)[0]}  # what is said of a run is said of one moment
        changed = {name: view.state for name, view in now.items()} != {view.name: view.state for view in found}
        if state.pop("training_acted", False) or changed:  # a button in here reruns no more than this
            st.rerun()
        table = run_results.runs_table(list(now.values()))
        st.dataframe(table, hide_index=True, height=250 if len(table) > 6 else "content")
        view, *others = [now[one] for one in (name, *beside) if one in now]
        st.subheader(view.sentence, anchor=False)
        st.progress(view.progress)
        st.markdown(escape_markdown(f"{view.message} {view.pace}"))
        buttons(view)
        columns, epochs = st.columns([3, 2], gap="medium"), [e.epoch for e in view.epochs if e.roc]
        set_widget_values(**run_results.epoch_values(state, name, epochs))
        epoch = (
            columns[1].select_slider("ROC of epoch", epochs, key=run_results.EPOCH, **PERSIST)
            if epochs[1:]
            else sum(epochs)
        )
        for column, figure in zip(
            columns, run_results.live_charts(view, others, epoch, load_bundled_results()), strict=False
        ):
            column.plotly_chart(figure, config=TOOLBAR, key=f"live {columns.index(column)}")
        if others:
            st.dataframe(watch.differing([view, *others]), hide_index=True, height="content")
        st.expander("Log").code(view.log or "Nothing yet.", language=None)
        for block in run_results.result_blocks([name, *beside], [view, *others], RUNS):
            show(block)

    live()
    for column, image in zip(cycle(st.columns(run_results.WORST)), run_results.worst_images(RUNS / name), strict=False):
        column.image(image.url, alt=image.id, caption=escape_markdown(image.caption))
    if external_test_from_page.testable(RUNS / name):
        external_test(name)


def external_test(name: str) -> None:
    titles = [title for title in training_form.data_titles(ROOT) if title != PHANTOMS]
    with st.expander("Test it on other data"):
        st.caption(
            f"Choose a set from the data folder. Images that {name} learnt from, and near-copies of them, are left out."
        )
        which = st.selectbox("Test data", titles, key=f"test data of {name}", placeholder="There is no data set yet")
        if st.button("Test", disabled=which is None) and which:
            try:
                with st.spinner(f"Testing {name} on {which}"):
                    tested = external_test_from_page.run_external_test(RUNS / name, which, ROOT)
                st.success(escape_markdown(f"Done. Choose {tested} on the Results page."))
            except RcdnetError as error:
                st.error(escape_markdown(str(error)))


st.title("Train")
if reason := training_denied_reason():
    st.info(escape_markdown(reason))
    if st.user and not st.user.get("is_logged_in"):
        st.button("Sign in", on_click=st.login)
    st.stop()  # runs, logs and images are for those who may train
if wrong := state.pop("training_error", ""):
    st.error(escape_markdown(wrong))
now, key = state.get("training_view") or (OLD if runs_in(RUNS) else NEW), f"view {state.training_round}"
state["training_view"] = st.segmented_control("View", [OLD, NEW], default=now, required=True, key=key)
(old_runs if state["training_view"] == OLD else new_run)()
