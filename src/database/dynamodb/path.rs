//! Paths to the parts of an item, as JSON pointers.

/// Returns the part of a path that errors may show: down to the first key of user data, because
/// deeper names may be user data themselves.
pub(super) fn shown(path: &str) -> &str {
    let mut end = 0;
    loop {
        let rest = path.get(end + 1..).unwrap_or_default();
        end = rest.find('/').map_or(path.len(), |slash| end + 1 + slash);
        if end == path.len() || !is_known(&path[..end]) {
            return &path[..end];
        }
    }
}

/// Returns whether the names directly below this path may be shown.
pub(super) fn is_known(path: &str) -> bool {
    ["/user", "/user/data", "/session", "/session/data", "/history"].contains(&path)
}

/// Walks through a value and tracks its path.
pub(super) trait Walk {
    fn path(&mut self) -> &mut String;

    /// Does `work` one step further down the path.
    fn at<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path().len();
        push(self.path(), name);
        let done = work(self);
        self.path().truncate(length);
        done
    }

    /// Does `work` in an element of an array.
    fn at_index<T>(&mut self, index: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path().len();
        self.path().push('/');
        push_number(self.path(), index);
        let done = work(self);
        self.path().truncate(length);
        done
    }
}

/// Appends a name to a JSON pointer.
fn push(path: &mut String, name: &str) {
    path.push('/');
    if name.contains(['~', '/']) {
        path.push_str(&name.replace('~', "~0").replace('/', "~1"));
    } else {
        path.push_str(name);
    }
}

/// Appends a number. Formatting it costs more than most of what is done with it.
pub(super) fn push_number(text: &mut String, number: usize) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    // One digit.
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// Returns the JSON pointer to the part of a record to which these names lead.
pub(super) fn pointer(path: &[&str]) -> String {
    let mut pointer = String::new();
    path.iter().for_each(|name| push(&mut pointer, name));
    pointer
}
