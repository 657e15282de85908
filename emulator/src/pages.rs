//! Pages of lists. A token names the last entry that was shown: what comes or goes meanwhile moves no other off the pages.

/// At most `size` of the entries that are behind the last one shown, and the key of the last of them if there are more. The
/// entries come in the order of the list.
pub(crate) fn page<K, T>(
    entries: impl IntoIterator<Item = (K, T)>,
    is_behind: impl Fn(&K) -> bool,
    size: usize,
) -> (Vec<T>, Option<K>) {
    let mut behind = entries.into_iter().filter(|(key, _)| is_behind(key));
    let (mut keys, page): (Vec<K>, Vec<T>) = behind.by_ref().take(size).unzip();
    let last = keys.pop().filter(|_| behind.next().is_some());
    (page, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_that_stays_is_on_one_page_whatever_comes_and_goes() {
        let listed = |names: &[&'static str], after: &str| {
            let entries = names.iter().map(|name| (*name, *name));
            page(entries, |name| *name > after, 2)
        };
        assert_eq!(listed(&["a", "b", "c", "d"], ""), (vec!["a", "b"], Some("b")));
        assert_eq!(listed(&["c", "d"], "b"), (vec!["c", "d"], None), "those of the page before are gone");
        assert_eq!(listed(&["a", "aa", "b", "c", "d"], "b"), (vec!["c", "d"], None));
        assert_eq!(listed(&[], "b"), (vec![], None));
        assert_eq!(listed(&["a", "b"], ""), (vec!["a", "b"], None), "nothing is behind a full page");
    }
}
