//! The name of one execution of one statement: no two executions that a plan asks for share one.

use std::fmt;
use std::str::FromStr;

/// Which operation of the plan, and which of its executions; most have one, whose item is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Token {
    pub(crate) op: u32,
    pub(crate) item: u32,
}

impl Token {
    pub(crate) fn of(op: u32) -> Self {
        Self { op, item: 0 }
    }

    pub(crate) fn item(op: u32, item: u32) -> Self {
        Self { op, item }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item {
            0 => write!(f, "t{}", self.op),
            item => write!(f, "t{}.{item}", self.op),
        }
    }
}

impl FromStr for Token {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers = text.strip_prefix('t').ok_or(())?;
        let (op, item) = numbers.split_once('.').unwrap_or((numbers, "0"));
        match (op.parse(), item.parse()) {
            (Ok(op), Ok(item)) => Ok(Self { op, item }),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written() {
        for token in [Token::of(1), Token::item(20, 3)] {
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        assert_eq!("u1".parse::<Token>(), Err(()));
    }
}
