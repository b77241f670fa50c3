//! Words, texts and signs of Rust sources.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

impl Token {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(own) if own == word)
    }

    pub(super) fn is_sign(&self, sign: char) -> bool {
        *self == Self::Sign(sign)
    }

    pub(super) fn word(&self) -> Option<&str> {
        if let Self::Word(word) = self { Some(word) } else { None }
    }
}

/// Words, texts and signs of a source, without comments, numbers, characters and lifetimes.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let (mut found, mut index) = (Vec::new(), 0);
    while index < chars.len() {
        let c = chars[index];
        if c == '/' && at(index + 1) == '/' {
            while index < chars.len() && chars[index] != '\n' {
                index += 1;
            }
        } else if c == '/' && at(index + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(index), at(index + 1)) {
                    ('/', '*') => (depth, index) = (depth + 1, index + 2),
                    ('*', '/') => (depth, index) = (depth - 1, index + 2),
                    _ => index += 1,
                }
                if depth == 0 || index >= chars.len() {
                    break;
                }
            }
        } else if c == '"' {
            let start = index + 1;
            index = start;
            while index < chars.len() && chars[index] != '"' {
                index += if chars[index] == '\\' { 2 } else { 1 };
            }
            found.push(Token::Text(chars[start..index.min(chars.len())].iter().collect()));
            index += 1;
        } else if c == '\'' {
            if at(index + 1) == '\\' {
                index += 3;
                while index < chars.len() && chars[index] != '\'' {
                    index += 1;
                }
                index += 1;
            } else if at(index + 2) == '\'' {
                index += 3;
            } else {
                // A lifetime.
                index += 2;
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
            }
        } else if c.is_alphanumeric() || c == '_' {
            let start = index;
            while at(index).is_alphanumeric() || at(index) == '_' {
                index += 1;
            }
            let word: String = chars[start..index].iter().collect();
            let hashes = (index..chars.len()).take_while(|at| chars[*at] == '#').count();
            if word.ends_with('r') && word.len() <= 2 && at(index + hashes) == '"' {
                // A raw text ends with a quote and as many hashes.
                index += hashes + 1;
                let end = |from: usize| chars[from] == '"' && (1..=hashes).all(|hash| at(from + hash) == '#');
                let start = index;
                while index < chars.len() && !end(index) {
                    index += 1;
                }
                found.push(Token::Text(chars[start..index.min(chars.len())].iter().collect()));
                index += hashes + 1;
            } else if !word.starts_with(|c: char| c.is_ascii_digit()) {
                found.push(Token::Word(word));
            }
        } else {
            if !c.is_whitespace() {
                found.push(Token::Sign(c));
            }
            index += 1;
        }
    }
    found
}

/// The index behind the group of brackets that opens at `open`.
pub(super) fn behind_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if let Token::Sign('(' | '[' | '{') = token {
            depth += 1;
        } else if let Token::Sign(')' | ']' | '}') = token {
            depth -= 1;
            if depth == 0 {
                return index + 1;
            }
        }
    }
    tokens.len()
}

/// The index behind the item that begins at `start`.
pub(super) fn behind_item(tokens: &[Token], start: usize) -> usize {
    let mut index = start;
    while let Some(token) = tokens.get(index) {
        match token {
            Token::Sign(';') => return index + 1,
            Token::Sign('{') => return behind_group(tokens, index),
            Token::Sign('(' | '[') => index = behind_group(tokens, index),
            _ => index += 1,
        }
    }
    index
}

/// Whether an attribute is that of test code: `#[test]`, or a `#[cfg(…)]` with `test` that is not negated.
pub(super) fn is_for_tests(attribute: &[Token]) -> bool {
    let is_negated = |at: usize| at >= 2 && attribute[at - 2].is("not") && attribute[at - 1].is_sign('(');
    let mut places = attribute.iter().enumerate().filter(|(_, token)| token.is("test")).map(|(at, _)| at);
    match attribute.first().and_then(Token::word) {
        Some("test") => true,
        Some("cfg") => places.any(|at| !is_negated(at)),
        _ => false,
    }
}

/// The tokens without test code.
pub(super) fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut index) = (Vec::new(), 0);
    while index < tokens.len() {
        let mut behind = index;
        let mut is_test = false;
        while tokens.get(behind).is_some_and(|token| token.is_sign('#'))
            && tokens.get(behind + 1).is_some_and(|token| token.is_sign('['))
        {
            let end = behind_group(tokens, behind + 1);
            is_test |= is_for_tests(&tokens[behind + 2..end - 1]);
            behind = end;
        }
        if is_test {
            index = behind_item(tokens, behind);
        } else {
            let end = behind.max(index + 1);
            kept.extend_from_slice(&tokens[index..end]);
            index = end;
        }
    }
    kept
}
