//! The words of a dialog's line: bare ones, quoted bytes, and numbers of a given width.

/// One word: the bare part in front, and the bytes in quotes behind it, if there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub bare: String,
    pub quoted: Option<Vec<u8>>,
}

impl Word {
    /// The bytes that a word of a server's line stands for: `"text"`, `"x"*1000` or `4:17`, a number of 4 bytes.
    pub fn bytes(&self) -> Vec<u8> {
        if let Some(quoted) = &self.quoted {
            let times = self.bare.strip_prefix('*').map_or(1, |times| times.parse().unwrap());
            return quoted.repeat(times);
        }
        let (width, number) = self.bare.split_once(':').expect("a number is width:value");
        let number: i64 = number.parse().unwrap();
        let bytes = number.to_be_bytes();
        bytes[8 - width.parse::<usize>().unwrap()..].to_vec()
    }

    pub fn text(&self) -> String {
        match &self.quoted {
            Some(quoted) => String::from_utf8(quoted.clone()).unwrap(),
            None => self.bare.clone(),
        }
    }
}

/// Splits a line into its words. `"x"*9` and `name:"x"` are one word each.
pub fn split(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c == ' ' {
            chars.next();
            continue;
        }
        let mut word = Word { bare: String::new(), quoted: None };
        while let Some(&c) = chars.peek() {
            match c {
                ' ' => break,
                '"' => {
                    chars.next();
                    word.quoted = Some(unquote(&mut chars));
                }
                _ => word.bare.extend(chars.next()),
            }
        }
        words.push(word);
    }
    words
}

fn unquote(chars: &mut impl Iterator<Item = char>) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match chars.next().expect("a quote is open") {
            '"' => return bytes,
            '\\' => bytes.push(match chars.next().unwrap() {
                '0' => 0,
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                'x' => {
                    let digits: String = chars.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).unwrap()
                }
                other => u8::try_from(other).unwrap(),
            }),
            other => bytes.extend(other.to_string().bytes()),
        }
    }
}

/// The reverse: bytes in quotes. What is long is only counted and summed up.
pub fn quote(bytes: &[u8]) -> String {
    const LONG: usize = 120;
    if bytes.len() > LONG {
        let sum =
            bytes.iter().fold(0_u32, |sum, &byte| sum.wrapping_mul(16_777_619) ^ u32::from(byte));
        return format!("<{} bytes, {sum:08x}>", bytes.len());
    }
    let text = bytes.escape_ascii().to_string().replace("\\x00", "\\0").replace("\\'", "'");
    format!("\"{text}\"")
}
