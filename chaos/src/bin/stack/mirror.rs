//! Where Terraform gets its provider from: a folder on this machine if there is one, else the public registry.

use std::path::{Path, PathBuf};

/// A folder to search for a mirror, and how deep below it.
const SEARCHED: [(&str, usize); 5] = [
    ("/usr/local/share", 2),
    ("/usr/share/terraform", 2),
    ("/usr/local/lib", 2),
    ("/usr/lib/terraform", 2),
    ("/opt", 2),
];
/// The same, below the home directory.
const SEARCHED_AT_HOME: [(&str, usize); 2] = [(".terraform.d", 1), (".local/share/terraform", 1)];
const PROVIDER: &str = "registry.terraform.io/hashicorp/aws";
const PROVIDER_VERSION: &str = "5.100.0";

/// The folder to hand to `terraform init -plugin-dir`: `TF_PLUGIN_DIR`, or a mirror under the usual folders that holds
/// the provider's version.
pub(crate) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("TF_PLUGIN_DIR").filter(|value| !value.is_empty());
    named.map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let at_home = home.iter().flat_map(|home| SEARCHED_AT_HOME.iter().map(|(d, n)| (home.join(d), *n)));
        let system = SEARCHED.iter().map(|(dir, depth)| (PathBuf::from(dir), *depth));
        at_home.chain(system).find_map(|(dir, depth)| below(&dir, depth))
    })
}

fn below(dir: &Path, depth: usize) -> Option<PathBuf> {
    if dir.join(PROVIDER).join(PROVIDER_VERSION).is_dir() {
        return Some(dir.to_path_buf());
    }
    if depth == 0 {
        return None;
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries.iter().filter(|path| path.is_dir()).find_map(|path| below(path, depth - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_found_only_where_it_holds_the_version() {
        let root = tempfile::tempdir().unwrap();
        let mirror = root.path().join("plugins");
        std::fs::create_dir_all(mirror.join(PROVIDER).join("4.0.0")).unwrap();
        assert_eq!(below(root.path(), 1), None);
        std::fs::create_dir_all(mirror.join(PROVIDER).join(PROVIDER_VERSION)).unwrap();
        assert_eq!(below(root.path(), 1), Some(mirror));
        assert_eq!(below(root.path(), 0), None);
    }
}
