//! The server's version as a number.

use super::Session;

impl Session {
    /// The server's version as a number, as libpq's `PQserverVersion` gives it: 150018 for 15.18.
    pub fn server_version(&self) -> Option<u32> {
        version_number(self.parameter("server_version")?)
    }
}

/// Parses `15.18 (Debian 15.18-0+deb12u1)` as 150018 and `9.6.24` as 90624.
fn version_number(text: &str) -> Option<u32> {
    let digits: String =
        text.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let mut parts = digits.split('.').map(|part| part.parse::<u32>().ok());
    let major = parts.next()??;
    let minor = parts.next().flatten().unwrap_or(0);
    let patch = parts.next().flatten().unwrap_or(0);
    let number = if major >= 10 {
        major.checked_mul(10_000)?.checked_add(minor)?
    } else {
        (major * 10_000).checked_add(minor.checked_mul(100)?.checked_add(patch)?)?
    };
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        for (text, number) in [
            ("15.18 (Debian 15.18-0+deb12u1)", Some(150_018)),
            ("18.6", Some(180_006)),
            ("19devel", Some(190_000)),
            ("19beta1", Some(190_000)),
            ("9.6.24", Some(90_624)),
            ("99999999999.1", None),
            ("9.42949672.0", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(version_number(text), number, "{text}");
        }
    }
}
