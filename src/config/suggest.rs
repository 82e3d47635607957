//! "Did you mean": the nearest of some known names.

/// Names further away than this (Damerau-Levenshtein, as a share of the longer one) are no help.
const FURTHEST: f64 = 0.4;

/// The nearest known name, if it is near at all.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names from outside may be of any length; the distance takes quadratic time.
    if name.len() > 128 {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(&name, &known.to_lowercase().replace('-', "_")), known))
        .filter(|(likeness, _)| *likeness >= 1.0 - FURTHEST)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

/// "did you mean `x`?", or else the list of what there is.
pub(super) fn help<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone, none: &str) -> String {
    if let Some(nearest) = nearest(name, known.clone()) {
        return format!("did you mean `{nearest}`?{}", and_stranger(name));
    }
    let known: Vec<_> = known.into_iter().map(|known| format!("`{known}`")).collect();
    if known.is_empty() { none.to_owned() } else { format!("one of {}", known.join(", ")) }
}

/// Letters of other alphabets, by the one that they look like.
const LOOK_ALIKES: [(&str, char); 22] = [
    ("\u{430}\u{3b1}", 'a'),
    ("\u{435}", 'e'),
    ("\u{43e}\u{3bf}", 'o'),
    ("\u{440}\u{3c1}", 'p'),
    ("\u{441}", 'c'),
    ("\u{443}", 'y'),
    ("\u{445}", 'x'),
    ("\u{456}\u{3b9}", 'i'),
    ("\u{455}", 's'),
    ("\u{458}", 'j'),
    ("\u{4bb}", 'h'),
    ("\u{501}", 'd'),
    ("\u{3bd}", 'v'),
    ("\u{43a}", 'k'),
    ("\u{43c}", 'm'),
    ("\u{442}", 't'),
    ("\u{432}", 'b'),
    ("\u{43d}", 'h'),
    ("\u{410}\u{391}", 'A'),
    ("\u{415}\u{395}", 'E'),
    ("\u{41e}\u{39f}", 'O'),
    ("\u{421}", 'C'),
];

/// The first character of a text that looks like another one or like nothing, by its number: "U+0430, which looks like
/// `a`".
pub(super) fn stranger(text: &str) -> Option<String> {
    text.chars().filter(|c| !c.is_ascii()).find_map(|c| {
        let like = LOOK_ALIKES.iter().find(|(letters, _)| letters.contains(c)).map(|(_, like)| *like);
        let wide =
            matches!(c, '\u{ff01}'..='\u{ff5e}').then(|| u8::try_from(u32::from(c) - 0xfee0).ok().map(char::from));
        let code = u32::from(c);
        match (like.or(wide.flatten()), c) {
            (Some(like), _) => Some(format!("U+{code:04X}, which looks like `{like}`")),
            (_, '\u{a0}' | '\u{2007}' | '\u{202f}') => Some(format!("U+{code:04X}, a no-break space")),
            (_, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}') => {
                Some(format!("U+{code:04X}, which nobody sees"))
            }
            (_, '\u{2010}'..='\u{2015}' | '\u{2212}') => Some(format!("U+{code:04X}, which looks like `-`")),
            _ => None,
        }
    })
}

/// The same as a part of help; empty where there is none.
pub(super) fn and_stranger(text: &str) -> String {
    stranger(text).map(|stranger| format!(" (there is {stranger})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(nearest("timout", ["total", "timeouts", "retry"]), Some("timeouts"));
        assert_eq!(nearest("pathprefix", ["path", "path_prefix"]), Some("path_prefix"));
    }

    #[test]
    fn a_foreign_word_gets_no_suggestion() {
        assert_eq!(nearest("banana", ["total", "timeouts", "retry"]), None);
    }
}
