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

/// The signs of an expression outside of classes and behind no backslash, each
/// with its place and the number of groups that are open before it.
pub(super) fn signs(pattern: &str) -> impl Iterator<Item = (usize, char, usize)> {
    let (mut depth, mut is_class) = (0_usize, false);
    let mut chars = pattern.char_indices();
    std::iter::from_fn(move || {
        while let Some((at, c)) = chars.next() {
            let before = depth;
            match c {
                '\\' => {
                    chars.next();
                    continue;
                }
                ']' => is_class = false,
                _ if is_class => continue,
                '[' => is_class = true,
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            return Some((at, c, before));
        }
        None
    })
}

/// Where the bracket is that ends a group.
pub(super) fn end_of_group(text: &str) -> Option<usize> {
    let end = signs(text).find(|(_, c, depth)| (*c, *depth) == (')', 0));
    end.map(|(at, ..)| at)
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
