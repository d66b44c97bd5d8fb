/// One path component: the limit of every file system in use.
const MAX_COMPONENT_BYTES: usize = 255;

/// A whole path; well below `PATH_MAX`, so that there is room for where it is put.
const MAX_PATH_BYTES: usize = 2048;

/// Why a path is refused wherever this crate signs or verifies paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Empty, or with an empty component.
    #[error("it is empty, starts or ends with a slash, or has two in a row")]
    Empty,
    /// `.` or `..`.
    #[error("it has a `.` or `..` component")]
    Dots,
    /// Cannot be shown, or would be changed by tools that escape.
    #[error("it has a control character or a backslash")]
    Character,
    /// Git's own folder.
    #[error("it has a `.git` component")]
    Git,
    /// Beyond 255 bytes a component or 2,048 in all.
    #[error("it is longer than {MAX_PATH_BYTES} bytes, or a component than {MAX_COMPONENT_BYTES}")]
    TooLong,
}

/// Checks that `path` is relative, stays below where it is put, and means the same to every tool.
pub(crate) fn check(path: &str) -> Result<(), PathError> {
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong);
    }
    if path.chars().any(|character| character.is_control() || character == '\\') {
        return Err(PathError::Character);
    }
    for component in path.split('/') {
        match component {
            "" => return Err(PathError::Empty),
            "." | ".." => return Err(PathError::Dots),
            component if component.eq_ignore_ascii_case(".git") => return Err(PathError::Git),
            component if component.len() > MAX_COMPONENT_BYTES => return Err(PathError::TooLong),
            _ => {}
        }
    }
    Ok(())
}

/// The folders that `path` lies in, innermost first.
pub(crate) fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/').map(|(parent, _)| parent), |path| {
        path.rsplit_once('/').map(|(parent, _)| parent)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_paths_inside() {
        for good in ["a", "a/b", ".a", "a..b", "...", "é", "a b", "-", "x.git"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, expected) in [
            ("", PathError::Empty),
            ("/a", PathError::Empty),
            ("a/", PathError::Empty),
            ("a//b", PathError::Empty),
            ("..", PathError::Dots),
            ("a/../b", PathError::Dots),
            ("./a", PathError::Dots),
            ("a\nb", PathError::Character),
            ("a\\b", PathError::Character),
            ("a\u{85}", PathError::Character),
            ("a/.GIT/config", PathError::Git),
        ] {
            assert_eq!(check(bad), Err(expected), "{bad:?}");
        }
        assert_eq!(check(&"a".repeat(256)), Err(PathError::TooLong));
        assert_eq!(check(&"a/".repeat(1500)), Err(PathError::TooLong));
    }

    #[test]
    fn names_every_folder() {
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(parents("a").count(), 0);
    }
}
