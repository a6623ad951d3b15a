//! What a receipt shows of each leaf: its salt, its hash, both or nothing.

use crate::audit::entry::{LeafName, LeafSet};

const HAS_SALT: u8 = 1;
const HAS_HASH: u8 = 2;

/// What is shown of one leaf.
///
/// As issued, a receipt shows salts: its holder knows the values, and with them makes the hashes. Before it is shown on, a salt
/// may be replaced by the leaf's hash: the root can still be made, the value no longer be tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafOpening {
    /// Which leaf.
    pub name: LeafName,
    /// Its hash.
    pub hash: Option<[u8; 32]>,
    /// Its salt: with it the value can be shown.
    pub salt: Option<[u8; 16]>,
}

/// Writes what is shown, leaf by leaf: code, which parts, hash, salt.
pub(super) fn push_openings(into: &mut Vec<u8>, leaves: &[LeafOpening]) {
    for leaf in leaves {
        let parts = leaf.salt.map_or(0, |_| HAS_SALT) | leaf.hash.map_or(0, |_| HAS_HASH);
        into.extend_from_slice(&[leaf.name.code(), parts]);
        into.extend(leaf.hash.iter().flatten());
        into.extend(leaf.salt.iter().flatten());
    }
}

/// Reads what is shown of exactly these leaves, in canonical order. Fails with what is wrong.
pub(super) fn read_openings(mut bytes: &[u8], leaves: LeafSet) -> Result<Vec<LeafOpening>, &'static str> {
    let openings = leaves.iter().map(|name| read_opening(&mut bytes, name));
    let openings = openings.collect::<Result<_, _>>()?;
    if bytes.is_empty() { Ok(openings) } else { Err("it goes on after the last leaf") }
}

fn read_opening(bytes: &mut &[u8], name: LeafName) -> Result<LeafOpening, &'static str> {
    let [code, parts] = take(bytes)?;
    if code != name.code() {
        return Err("its leaves are not those of the entry");
    }
    if parts & !(HAS_SALT | HAS_HASH) != 0 {
        return Err("a leaf has parts this build does not know");
    }
    let hash = (parts & HAS_HASH != 0).then(|| take(bytes)).transpose()?;
    let salt = (parts & HAS_SALT != 0).then(|| take(bytes)).transpose()?;
    Ok(LeafOpening { name, hash, salt })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], &'static str> {
    let (taken, rest) = bytes.split_first_chunk().ok_or("it ends too early")?;
    *bytes = rest;
    Ok(*taken)
}
