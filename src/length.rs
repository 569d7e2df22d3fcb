//! The length of JSON texts, counted without writing them.

use std::io;

use serde::Serialize;

/// Returns the length in bytes of `value` as compact JSON; `None` if it has no JSON form.
pub(crate) fn of_json(value: &impl Serialize) -> Option<usize> {
    /// Counts the bytes written to it, and drops them.
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).ok().map(|()| count.0)
}
