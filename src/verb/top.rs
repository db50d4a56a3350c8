//! `kraken top`: the fleet live on a terminal. What is shown follows from a plain state, which
//! takes keys and news and says what is to be done; here both are fetched and the terminal is
//! drawn.

mod draw;
mod news;
mod order;
mod state;

#[cfg(test)]
mod tests;

use std::{io::IsTerminal as _, time::SystemTime};

use anyhow::Context as _;
use kraken_http::client::Client;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::{
    sync::mpsc,
    time::{Duration, MissedTickBehavior, interval},
};

use self::{
    news::Feed,
    state::{Input, Key, State, Wish},
};
use crate::{complete, console::Console, daemon::Endings, exit::Failure, fleet, nodes::Nodes};

/// Keys and news that wait to be taken in; at the bound their senders wait.
const INPUTS_MAX: usize = 64;
/// How often the screen is drawn though nothing has changed: ages go on.
const TICK: Duration = Duration::from_secs(1);
/// How long the keyboard is listened to at a time, before it is asked whether anybody still wants
/// to know.
const LISTEN: Duration = Duration::from_millis(100);

/// Shows the fleet live on the terminal: sort, search, and look into a node
///
/// Keys: arrows or j and k move, Enter looks into a node, / searches, s sorts by something else, r
/// turns the order round, a hides what has converged, ? shows the keys, q leaves.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which: n1, n[1-64,70] or @rack=r1 [default: all]
    #[arg(add = complete::nodes())]
    nodes: Option<Nodes>,
}

impl Args {
    /// Shows until it is left.
    pub(crate) async fn run(self, client: &Client, console: &Console) -> Result<(), Failure> {
        if !console.is_terminal() || !std::io::stdin().is_terminal() {
            return Err(Failure::usage("this needs a terminal")
                .hint("without one: kraken get nodes, or kraken get nodes --watch"));
        }
        // A server that is not there is told on the terminal as it was, like of any other verb.
        let query = Nodes::listed(self.nodes.as_ref());
        let list = client.get_nodes(&query).await?;
        let (inputs, taken) = mpsc::channel(INPUTS_MAX);
        let feed = Feed::start(fleet::patient(client)?, query, inputs.clone());
        let mut state = State::new(console.look());
        state.take(Input::Nodes(list));
        let mut endings = Endings::listen(false)?;
        let screen = Screen::open()?;
        let shown = screen.show(state, (taken, inputs), &feed, &mut endings).await;
        feed.end();
        shown
    }
}

/// The terminal, which is as it was before once this is dropped, also by a panic.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> Result<Self, Failure> {
        Ok(Self(ratatui::try_init().context("cannot take the terminal")?))
    }

    /// Takes keys and news, and draws, until somebody leaves or the process is told to end.
    async fn show(
        mut self,
        mut state: State,
        (mut taken, inputs): (mpsc::Receiver<Input>, mpsc::Sender<Input>),
        feed: &Feed,
        endings: &mut Endings,
    ) -> Result<(), Failure> {
        listen(inputs)?;
        let mut clock = interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let drawn = self.0.draw(|frame| draw::draw(frame, &mut state, SystemTime::now()));
            drawn.context("cannot draw on the terminal")?;
            let wish = tokio::select! {
                input = taken.recv() => match input {
                    Some(input) => state.take(input),
                    None => return Ok(()),
                },
                _ = clock.tick() => state.tick(),
                _ = endings.next() => return Ok(()),
            };
            match wish {
                Wish::Nothing => {}
                Wish::Why(name) => feed.why(name),
                Wish::Leave => return Ok(()),
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Reads the keyboard on a thread of its own, as long as somebody takes what is typed.
fn listen(inputs: mpsc::Sender<Input>) -> Result<(), Failure> {
    let listening = move || {
        while !inputs.is_closed() {
            let event = match event::poll(LISTEN) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            let input = match event {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => known(key),
                // What a terminal of another size shows is drawn anew.
                Ok(Event::Resize(..)) => Some(Input::Resized),
                Ok(_) => None,
                Err(_) => Some(Input::Key(Key::Interrupt)),
            };
            if input.is_some_and(|input| inputs.blocking_send(input).is_err()) {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("keyboard".to_owned())
        .spawn(listening)
        .context("cannot start a thread")?;
    Ok(())
}

/// A key that means something here.
fn known(key: KeyEvent) -> Option<Input> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    let key = match key.code {
        KeyCode::Char('c') if is_control => Key::Interrupt,
        KeyCode::Char(_) if is_control => return None,
        KeyCode::Char(char) => Key::Char(char),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::First,
        KeyCode::End => Key::Last,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Back,
        KeyCode::Backspace => Key::Erase,
        _ => return None,
    };
    Some(Input::Key(key))
}
