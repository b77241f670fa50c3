//! Which names a topic may have.

/// The longest name, in bytes.
const MAX_BYTES: usize = 249;

/// Checks a topic's name by the broker's rules. The error says what is wrong with it.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let is_legal = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    if name.is_empty() {
        return Err("the topic name is empty".into());
    }
    if name.len() > MAX_BYTES {
        return Err(format!("the topic name has {} bytes; the limit is {MAX_BYTES}", name.len()));
    }
    if let Some(character) = name.chars().find(|character| !is_legal(*character)) {
        return Err(format!(
            "the topic name {name:?} contains {character:?}; only letters, digits, '.', '_' and '-' are allowed"
        ));
    }
    if name == "." || name == ".." {
        return Err(format!("a topic must not be named {name:?}"));
    }
    Ok(())
}
