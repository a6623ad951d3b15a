//! What a terminal is given: colours only where somebody looks at them, and never a broken pipe as a crash.

use std::io::{IsTerminal as _, Write as _};

/// How a word is meant. The terminal decides whether it is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// Open, or worth a look.
    Doubt,
    /// Less important than the rest.
    Faint,
    /// More important than the rest.
    Strong,
}

/// Where output goes, and what it can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    colour: bool,
    live: bool,
}

impl Terminal {
    /// Looks at the standard output: colours and live lines only on a terminal, colours not with `NO_COLOR`.
    pub fn detect() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            colour: std::io::stdout().is_terminal() && !refused && !dumb,
            live: std::io::stderr().is_terminal() && !dumb,
        }
    }

    /// A place that shows text and nothing else: files, pipes, `--json`.
    pub const fn plain() -> Self {
        Self { colour: false, live: false }
    }

    /// A place that shows colours, whatever the environment says.
    #[cfg(test)]
    pub const fn colourful() -> Self {
        Self { colour: true, live: false }
    }

    /// Returns whether colours are shown.
    pub const fn has_colour(self) -> bool {
        self.colour
    }

    /// Returns whether a line may be redrawn while something runs.
    pub const fn is_live(self) -> bool {
        self.live
    }

    /// Colours a text by its meaning.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Doubt => "33",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Writes a line to the standard output. A reader that went away is not our error.
pub fn say(line: &str) {
    let _gone = writeln!(std::io::stdout().lock(), "{line}");
}

/// Writes a line to the standard error output.
pub fn tell(line: &str) {
    let _gone = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes a value as indented JSON.
pub fn say_json(value: &serde_json::Value) {
    say(&format!("{value:#}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_place_gets_no_escape_codes() {
        assert_eq!(Terminal::plain().paint(Tone::Bad, "no"), "no");
        assert_eq!(Terminal::colourful().paint(Tone::Bad, "no"), "\u{1b}[1;31mno\u{1b}[0m");
    }
}
