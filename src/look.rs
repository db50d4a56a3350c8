//! How printed data may look: whether it is coloured, and how wide it may be. A person reads it on
//! a terminal; everybody else gets all of it, plain.

use std::fmt::Display;

use clap::builder::styling::{AnsiColor, Style};

/// What the reader of data has before them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether it may be coloured.
    pub(crate) has_colour: bool,
    /// How many columns the terminal has; nothing where there is none.
    pub(crate) columns: Option<usize>,
    /// How many lines it has; nothing where there is none.
    pub(crate) rows: Option<usize>,
}

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// As it should be, or added.
    Good,
    /// A person is needed, or removed.
    Bad,
    /// It may need a person, or changed.
    Warning,
    /// Held by somebody's wish.
    Held,
}

impl Ink {
    /// The colour of the attention that a phase asks for.
    pub(crate) fn of_phase(phase: &str) -> Option<Self> {
        match phase {
            "Converged" => Some(Self::Good),
            "Stuck" | "Quarantined" => Some(Self::Bad),
            "BackingOff" => Some(Self::Warning),
            "Frozen" => Some(Self::Held),
            _ => None,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Held => AnsiColor::Blue.on_default(),
        }
    }
}

impl Look {
    /// The same without a bound to the width: for who has asked for everything.
    pub(crate) fn unbounded(self) -> Self {
        Self { columns: None, ..self }
    }

    /// A text in a colour, where colours are shown.
    pub(crate) fn paint(self, ink: Ink, text: impl Display) -> String {
        if !self.has_colour {
            return text.to_string();
        }
        let style = ink.style();
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_only_where_it_may_be() {
        let coloured = Look { has_colour: true, ..Look::default() };
        assert_eq!(coloured.paint(Ink::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(Look::default().paint(Ink::Bad, "x"), "x");
    }
}
