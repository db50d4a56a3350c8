//! How `kraken top` looks.

use std::{collections::BTreeMap, time::SystemTime};

use kraken_http::{client::ClusterView, view::ObjectView};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row, Table, TableState},
};

use super::{
    order::{phase, reason},
    state::{Looked, State, View},
};
use crate::{
    age, fleet,
    look::{Ink, Look},
    verb::why,
};

const KEYS: &str = "\
Up, Down, k, j       one up, one down
PageUp, PageDown     a page up, a page down
Home, End, g, G      to the first, to the last
Enter                look into a node: why it stands where it stands
/                    search: n[1-64], @rack=r1, a phase, any text
s                    sort by something else: attention, name, since, step
r                    turn the order round
a                    leave out what has converged, or show all
Esc                  back; forget what was searched for
q, Ctrl-C            leave";
const HELP: &str = "Enter why   / search   s sort   r reverse   a all or open   ? keys   q leave";
const HELP_NODE: &str = "Up, Down scroll   Esc back   ? keys   Ctrl-C leave";

/// Columns between two columns of the table.
const GAP: u16 = 3;
/// Columns of a link, of a phase, and of how long it lasts.
const LINK_COLUMNS: usize = 5;
const PHASE_COLUMNS: usize = 11;
const SINCE_COLUMNS: usize = 6;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, now: SystemTime) {
    let parts = [Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)];
    let [head, body, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(titles(state)), head);
    let helped = match state.view.clone() {
        View::Fleet => {
            list(frame, state, body, now);
            HELP
        }
        View::Node(looked) => {
            node(frame, state, &looked, (body, now));
            HELP_NODE
        }
        View::Keys => {
            frame.render_widget(Paragraph::new(KEYS), body);
            HELP_NODE
        }
    };
    frame.render_widget(Paragraph::new(last_line(state, helped)), foot);
}

/// The quorum, then the fleet in numbers.
fn titles(state: &State) -> Vec<Line<'static>> {
    let quorum =
        state.quorum.as_ref().map_or_else(|| "quorum: not heard of yet".into(), |q| told(q));
    vec![Line::from(quorum).style(Modifier::BOLD), counts(state)]
}

/// The quorum in a line: who leads, how far it is, and which of its members lag.
fn told(quorum: &ClusterView) -> String {
    let Some(cluster) = quorum.cluster else {
        return format!("{} belongs to no cluster yet", quorum.node);
    };
    let leader = match &quorum.leader_name {
        Some(leader) => format!("led by {leader}"),
        None => "WITHOUT A LEADER".to_owned(),
    };
    let voters = quorum.members.iter().filter(|member| member.voter).count();
    let learners = match quorum.members.len() - voters {
        0 => String::new(),
        learners => format!(" and {learners} learning"),
    };
    let lag =
        quorum.members.iter().filter_map(|m| Some((m, quorum.last_log.checked_sub(m.matched?)?)));
    let lag: Vec<String> = lag
        .filter(|(_, lag)| *lag > 0)
        .map(|(member, lag)| format!("{} {lag} behind", member.name))
        .collect();
    let lag = if lag.is_empty() { String::new() } else { format!(", {}", lag.join(", ")) };
    format!(
        "cluster {cluster:x}, {leader}, term {}, revision {}, {voters} voting{learners}{lag}",
        quorum.term, quorum.revision
    )
}

/// How many nodes are in which phase.
fn counts(state: &State) -> Line<'static> {
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    for node in state.all() {
        *phases.entry(phase(node)).or_default() += 1;
    }
    let mut spans = vec![Span::raw(format!("{} nodes", state.all().len()))];
    for (phase, count) in phases {
        let word = if phase.is_empty() { "undecided" } else { phase };
        spans.push(Span::raw("   "));
        spans.push(Span::styled(format!("{count} {word}"), style(state.look.has_colour, phase)));
    }
    let order = if state.is_reversed { "by least" } else { "by" };
    let open = if state.is_narrowed { ", open ones" } else { "" };
    spans.push(Span::raw(format!("   {order} {}{open}", state.sort.as_str())));
    Line::from(spans)
}

fn list(frame: &mut Frame<'_>, state: &mut State, area: Rect, now: SystemTime) {
    state.page = usize::from(area.height.saturating_sub(1));
    let longest = |of: &dyn Fn(&ObjectView) -> usize, least: usize, most: usize| {
        state.shown().map(of).max().unwrap_or_default().clamp(least, most)
    };
    let step = |node: &ObjectView| node.status.as_ref().and_then(|status| status.step.clone());
    let name = longest(&|node| node.name.chars().count(), 4, 32);
    let steps = longest(&|node| step(node).map_or(0, |step| step.chars().count()), 4, 32);
    let width = |chars: usize| Constraint::Length(u16::try_from(chars).unwrap_or(u16::MAX));
    // What is long gives way, so that a phase is read whole.
    let kept = name + LINK_COLUMNS + PHASE_COLUMNS + SINCE_COLUMNS + 5 * usize::from(GAP);
    let left = usize::from(area.width).saturating_sub(kept);
    let widths = [name, LINK_COLUMNS, PHASE_COLUMNS, SINCE_COLUMNS, steps.min(left / 2)].map(width);
    let widths = widths.into_iter().chain([Constraint::Fill(1)]);
    // Only what may be on the screen is made into rows.
    let selected = state.selected();
    let from = selected.unwrap_or_default().saturating_sub(state.page);
    let rows = state.shown().skip(from).take(state.page.saturating_mul(2).saturating_add(1));
    let rows: Vec<Row<'_>> = rows.map(|node| row(node, state.look.has_colour, now)).collect();
    let head = ["NAME", "LINK", "PHASE", "SINCE", "STEP", "REASON"];
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(Modifier::BOLD))
        .column_spacing(GAP)
        .row_highlight_style(Modifier::REVERSED);
    let selected = selected.map(|selected| selected - from);
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(selected));
}

fn row(node: &ObjectView, has_colour: bool, now: SystemTime) -> Row<'static> {
    let status = node.status.as_ref();
    let since = status.map(|status| age::since(&status.since, now)).unwrap_or_default();
    let step = status.and_then(|status| status.step.clone()).unwrap_or_default();
    let reason = status.map(|status| reason(status).to_owned()).unwrap_or_default();
    let cell = |text: String| Cell::new(if text.is_empty() { "-".to_owned() } else { text });
    Row::new([
        cell(node.name.clone()),
        cell(fleet::link(node).to_owned()),
        cell(phase(node).to_owned()).style(style(has_colour, phase(node))),
        cell(since),
        cell(step),
        cell(reason),
    ])
}

/// All that is known of why a node stands where it stands.
fn node(
    frame: &mut Frame<'_>,
    state: &mut State,
    looked: &Looked,
    (area, now): (Rect, SystemTime),
) {
    let look = Look { columns: Some(usize::from(area.width)), ..Look::default() };
    let text = match &looked.why {
        None => format!("{}: asking why it stands where it stands", looked.name),
        Some(Err(why)) => format!("{}: {why}", looked.name),
        Some(Ok(why)) => why::explain(why, now, look),
    };
    state.page = usize::from(area.height);
    let line = looked.line.min(text.lines().count().saturating_sub(state.page));
    if let View::Node(looked) = &mut state.view {
        looked.line = line;
    }
    let shown: Vec<Line<'_>> = text.lines().skip(line).take(state.page).map(Line::from).collect();
    frame.render_widget(Paragraph::new(shown), area);
}

/// What is searched for, else why what is shown is old, else what keys do.
fn last_line(state: &State, helped: &'static str) -> Line<'static> {
    let is_searched = state.is_typing || !state.search.is_empty();
    if is_searched && matches!(state.view, View::Fleet) {
        let cursor = if state.is_typing { "_" } else { "" };
        let found = state.shown().len();
        return Line::from(format!("/{}{cursor}   {found} found, Esc shows all", state.search));
    }
    match &state.lost {
        Some(why) => {
            let colour =
                if state.look.has_colour { Style::new().fg(Color::Red) } else { Style::new() };
            Line::from(format!("not heard of now: {why}")).style(colour)
        }
        None => Line::from(helped),
    }
}

/// The colour of the attention that a phase asks for.
fn style(has_colour: bool, phase: &str) -> Style {
    let ink = Ink::of_phase(phase).filter(|_| has_colour);
    ink.map_or(Style::new(), |ink| match ink {
        Ink::Good => Style::new().fg(Color::Green),
        Ink::Bad => Style::new().fg(Color::Red),
        Ink::Warning => Style::new().fg(Color::Yellow),
        Ink::Held => Style::new().fg(Color::Blue),
    })
}
