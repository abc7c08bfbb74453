//! The words after the command: flags, options with a value, and a complaint about the rest.

use std::str::FromStr;

use crate::Failure;

/// What is left of the command line. Whatever is asked for is taken out, so that
/// [`Arguments::finish`] can name the words that were not used.
pub(crate) struct Arguments {
    words: Vec<String>,
}

impl Arguments {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Arguments {
        // `--name=value` is the same as `--name value`.
        let words = words.flat_map(|word| match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                vec![name.to_owned(), value.to_owned()]
            }
            _ => vec![word],
        });
        Arguments { words: words.collect() }
    }

    /// The first word, if it is not an option.
    pub(crate) fn command(&mut self) -> Option<String> {
        let first = self.words.first()?;
        (!first.starts_with("--")).then(|| self.words.remove(0))
    }

    /// Was `name` said?
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() != before
    }

    /// The word after `name`.
    pub(crate) fn option(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let Some(at) = self.words.iter().position(|word| word == name) else {
            return Ok(None);
        };
        self.words.remove(at);
        if at == self.words.len() {
            return Err(format!("{name} needs a value").into());
        }
        Ok(Some(self.words.remove(at)))
    }

    /// The value after `name`, or `default`.
    pub(crate) fn parsed<T: FromStr>(&mut self, name: &str, default: T) -> Result<T, Failure>
    where
        T::Err: Into<Failure>,
    {
        self.option(name)?.map_or(Ok(default), |word| {
            word.parse().map_err(|e: T::Err| {
                let reason: Failure = e.into();
                format!("{name} {word}: {reason}").into()
            })
        })
    }

    /// The comma-separated values after `name`; `all`, like saying nothing, means `default`.
    pub(crate) fn list<T>(&mut self, name: &str, default: &[T]) -> Result<Vec<T>, Failure>
    where
        T: FromStr<Err = Failure> + Copy,
    {
        match self.option(name)?.as_deref() {
            None | Some("all") => Ok(default.to_vec()),
            Some(words) => words.split(',').map(str::parse).collect(),
        }
    }

    /// Names the first word that was not used.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self.words.first() {
            None => Ok(()),
            Some(word) => Err(format!("{word} is not understood here; see `bench help`").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    fn arguments(line: &str) -> Arguments {
        Arguments::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_is_asked_for_is_taken_out_and_the_rest_is_named() {
        let mut line = arguments("a --rounds 3 --queries=10 --fake --shiny");
        assert_eq!(line.command().as_deref(), Some("a"));
        assert_eq!(line.parsed("--rounds", 7_u32).unwrap(), 3);
        assert_eq!(line.parsed("--queries", 7_u32).unwrap(), 10);
        assert!(line.flag("--fake"));
        assert!(!line.flag("--pin"));
        assert!(line.finish().unwrap_err().to_string().contains("--shiny"));
    }

    #[test]
    fn an_option_at_the_end_asks_for_its_value() {
        let failure = arguments("--rounds").option("--rounds").unwrap_err();
        assert_eq!(failure.to_string(), "--rounds needs a value");
    }
}
