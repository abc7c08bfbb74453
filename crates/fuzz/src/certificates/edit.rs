//! DER as a tree, and what is done to it.

use proptest::prelude::*;
use proptest::sample::Index;

use super::der::tlv;

/// A change at one place of the tree. The lengths around it are made right again.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    Remove,
    Repeat,
    /// It comes after the one that follows it.
    Later,
    Tag(u8),
    /// A byte of its contents.
    Byte(Index, u8),
    /// A bit of its contents.
    Bit(Index, u8),
    /// Other contents.
    Contents(Vec<u8>),
    /// It ends early, or goes on.
    Cut(Index),
    Longer(Vec<u8>),
    /// It announces a length that it does not have.
    Length(Vec<u8>),
    /// A copy of another place comes here.
    Graft(Index),
    /// It stands in so many sequences.
    Deeper(usize),
}

pub(super) fn any_edit() -> impl Strategy<Value = Edit> {
    let tag = prop::sample::select(vec![
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0a, 0x0c, 0x13, 0x16, 0x17, 0x18, 0x1e, 0x30, 0x31,
        0x80, 0x81, 0x82, 0x86, 0x87, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0x1f, 0xff, 0x00,
    ]);
    let length = prop::sample::select(vec![
        vec![0],
        vec![0x7f],
        vec![0x80],
        vec![0x81, 0x01],
        vec![0x82, 0xff, 0xff],
        vec![0x84, 0xff, 0xff, 0xff, 0xff],
        vec![0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0xff],
    ]);
    let contents = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::sample::select(vec![
            b"localhost".to_vec(),
            b"*.localhost".to_vec(),
            b"\0localhost".to_vec(),
            b"99991231235959Z".to_vec(),
            b"000101000000Z".to_vec(),
            b"\xff".to_vec(),
            vec![0xff; 9],
            vec![0x80; 30],
        ]),
    ];
    prop_oneof![
        2 => Just(Edit::Remove),
        1 => Just(Edit::Repeat),
        1 => Just(Edit::Later),
        2 => tag.prop_map(Edit::Tag),
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Byte(at, byte)),
        3 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Edit::Bit(at, bit)),
        2 => contents.clone().prop_map(Edit::Contents),
        1 => any::<Index>().prop_map(Edit::Cut),
        1 => contents.prop_map(Edit::Longer),
        1 => length.prop_map(Edit::Length),
        2 => any::<Index>().prop_map(Edit::Graft),
        1 => prop_oneof![1..4_usize, Just(3_000)].prop_map(Edit::Deeper),
    ]
}

/// A value of DER.
#[derive(Debug, Clone)]
enum Tree {
    /// A tag, and what is within; before that the count of unused bits, if it is a BIT STRING.
    Node {
        tag: u8,
        before: Vec<u8>,
        children: Vec<Tree>,
    },
    Leaf {
        tag: u8,
        contents: Vec<u8>,
    },
    /// What is none.
    Raw(Vec<u8>),
}

/// A tag, its contents, and what follows.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

/// The values that a value consists of, as they are written.
pub(super) fn children(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (_, mut contents, rest) = split(bytes)?;
    let mut all = Vec::new();
    while !contents.is_empty() {
        let (_, _, after) = split(contents)?;
        all.push(contents[..contents.len() - after.len()].to_vec());
        contents = after;
    }
    rest.is_empty().then_some(all)
}

fn parse(mut bytes: &[u8], levels: usize) -> Option<Vec<Tree>> {
    let mut all = Vec::new();
    let levels = levels.checked_sub(1)?;
    while !bytes.is_empty() {
        let (tag, contents, rest) = split(bytes)?;
        // Values within strings: extensions, keys.
        let (before, within) = match tag {
            3 if contents.first() == Some(&0) => (vec![0], Some(&contents[1..])),
            4 => (Vec::new(), Some(contents)),
            _ if tag & 0x20 != 0 => (Vec::new(), Some(contents)),
            _ => (Vec::new(), None),
        };
        let children = within.filter(|within| !within.is_empty()).and_then(|w| parse(w, levels));
        all.push(match children {
            Some(children) => Tree::Node { tag, before, children },
            None => Tree::Leaf { tag, contents: contents.to_vec() },
        });
        bytes = rest;
    }
    Some(all)
}

impl Tree {
    fn write(&self) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes.clone(),
            Self::Leaf { tag, contents } => tlv(*tag, &[contents]),
            Self::Node { tag, before, children } => {
                let children: Vec<u8> = children.iter().flat_map(Self::write).collect();
                tlv(*tag, &[before, &children])
            }
        }
    }

    /// How many places there are in it, itself included.
    fn count(&self) -> usize {
        match self {
            Self::Node { children, .. } => 1 + children.iter().map(Self::count).sum::<usize>(),
            _ => 1,
        }
    }

    fn find(&self, number: usize) -> &Self {
        let Self::Node { children, .. } = self else { return self };
        let Some(mut left) = number.checked_sub(1) else { return self };
        for child in children {
            let count = child.count();
            if left < count {
                return child.find(left);
            }
            left -= count;
        }
        self
    }

    fn edit(&mut self, number: usize, edit: &Edit, graft: &Self) {
        if number == 0 {
            *self = self.changed(edit, graft);
            return;
        }
        let Self::Node { children, .. } = self else { return };
        let mut left = number - 1;
        for at in 0..children.len() {
            let count = children[at].count();
            if left >= count {
                left -= count;
                continue;
            }
            match edit {
                Edit::Remove if left == 0 => drop(children.remove(at)),
                Edit::Repeat if left == 0 => children.insert(at, children[at].clone()),
                Edit::Later if left == 0 && at + 1 < children.len() => children.swap(at, at + 1),
                Edit::Graft(_) if left == 0 => children.insert(at, graft.clone()),
                _ => children[at].edit(left, edit, graft),
            }
            return;
        }
    }

    fn changed(&self, edit: &Edit, graft: &Self) -> Self {
        let bytes = self.write();
        let Some((old, contents, _)) = split(&bytes) else { return self.clone() };
        let mut contents = contents.to_vec();
        let mut tag = old;
        match edit {
            Edit::Remove | Edit::Repeat | Edit::Later => return self.clone(),
            Edit::Graft(_) => return graft.clone(),
            Edit::Tag(new) => tag = *new,
            Edit::Byte(at, byte) => {
                if let Some(old) = contents.get_mut(at.index(bytes.len())) {
                    *old = *byte;
                }
            }
            Edit::Bit(at, bit) => {
                let at = at.index(contents.len().max(1));
                if let Some(old) = contents.get_mut(at) {
                    *old ^= 1 << bit;
                }
            }
            Edit::Contents(new) => contents.clone_from(new),
            Edit::Cut(at) => contents.truncate(at.index(contents.len() + 1)),
            Edit::Longer(more) => contents.extend(more),
            Edit::Length(length) => {
                return Self::Raw([&[tag], &length[..], &contents].concat());
            }
            Edit::Deeper(levels) => {
                let deeper = (0..*levels).fold(bytes.clone(), |within, _| tlv(0x30, &[&within]));
                return Self::Raw(deeper);
            }
        }
        Self::Leaf { tag, contents }
    }
}

/// Does all of it, each to what has become of the tree.
pub(super) fn apply(bytes: &[u8], edits: &[(Index, Edit)]) -> Vec<u8> {
    /// As deep as certificates are, and more.
    const LEVELS: usize = 32;
    let Some([mut tree]) = parse(bytes, LEVELS).and_then(|all| <[Tree; 1]>::try_from(all).ok())
    else {
        return bytes.to_vec();
    };
    for (place, edit) in edits {
        let count = tree.count();
        let graft = match edit {
            Edit::Graft(from) => tree.find(from.index(count)).clone(),
            _ => Tree::Raw(Vec::new()),
        };
        tree.edit(place.index(count), edit, &graft);
    }
    tree.write()
}
