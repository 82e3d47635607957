//! `(?!word)` without look-around: an expression for everything that does not
//! begin with a word.

/// Longest text behind `(?!` that is written without look-around, in bytes. Each
/// becomes a group within a group.
const LONGEST_WORD: usize = 64;
/// Whether a text means itself, and is short enough.
pub(super) fn is_word(word: &str) -> bool {
    let is_text = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_');
    !word.is_empty() && word.len() <= LONGEST_WORD && word.chars().all(is_text)
}

/// Where the bracket is that ends a group.
pub(super) fn end_of_group(text: &str) -> Option<usize> {
    let (mut depth, mut is_class) = (0_usize, false);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            ']' => is_class = false,
            _ if is_class => {}
            '[' => is_class = true,
            '(' => depth += 1,
            ')' if depth == 0 => return Some(at),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// An expression for the texts that begin with none of these words, which have
/// a character each.
pub(super) fn without(words: &[&str]) -> String {
    let mut firsts: Vec<char> = words
        .iter()
        .filter_map(|word| word.chars().next())
        .collect();
    firsts.sort_unstable();
    firsts.dedup();
    let listed: String = firsts
        .iter()
        .map(|c| regex::escape(&c.to_string()))
        .collect();
    let mut ways = vec![String::new(), format!("[^{listed}].*")];
    for first in firsts {
        let rests: Vec<&str> = words
            .iter()
            .filter_map(|word| word.strip_prefix(first))
            .collect();
        // A word that ends here takes everything that begins with it.
        if !rests.contains(&"") {
            ways.push(format!("{first}{}", without(&rests)));
        }
    }
    format!("(?:{})", ways.join("|"))
}
