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
        return format!("did you mean `{nearest}`?");
    }
    let known: Vec<_> = known.into_iter().map(|known| format!("`{known}`")).collect();
    if known.is_empty() { none.to_owned() } else { format!("one of {}", known.join(", ")) }
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
