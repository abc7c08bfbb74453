//! What is written on the screen.

use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Writes numbered steps; in colours where somebody sees them.
pub(crate) struct Guide {
    steps: usize,
    colours: bool,
}

impl Guide {
    pub(crate) fn new() -> Self {
        let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { steps: 0, colours }
    }

    fn paint(&self, colour: &str, text: impl Display) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }

    pub(crate) fn step(&mut self, title: &str) {
        if self.steps > 0 {
            println!();
        }
        self.steps += 1;
        println!("{:>2}  {}", self.steps, self.paint("1", title));
    }

    #[expect(clippy::unused_self, reason = "it is said by the guide, as all else is")]
    pub(crate) fn say(&self, text: impl Display) {
        println!("      {text}");
    }

    pub(crate) fn done(&self, text: impl Display) {
        println!("    {} {text}", self.paint("32", "✓"));
    }

    pub(crate) fn timed(&self, text: impl Display, time: Duration) {
        let time = format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
        println!("    {} {text:<40} {time:>10}", self.paint("32", "✓"));
    }

    pub(crate) fn fact(&self, name: &str, value: impl Display) {
        println!("      {} {value}", self.paint("2", format!("{name:<10}")));
    }

    pub(crate) fn refused(&self, text: impl Display) {
        let text = text.to_string();
        for (number, line) in text.lines().enumerate() {
            let mark = if number == 0 { "✗" } else { " " };
            println!("    {} {line}", self.paint("31", mark));
        }
    }

    /// A bar that grows to `length`; on a terminal only, and gone when it is dropped.
    #[expect(clippy::unused_self, reason = "it is drawn by the guide, as all else is")]
    pub(crate) fn bar(&self, length: u64) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stdout());
        match ProgressStyle::with_template("      {bar:40} {human_pos} of {human_len} rows") {
            Ok(style) => bar.with_style(style),
            // Then it looks as indicatif has it.
            Err(_) => bar,
        }
    }
}
