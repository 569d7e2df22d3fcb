//! The requests of users.

use bytes::Bytes;
use measures::samples;

/// The digits of the first user's id, as the sample has it.
const WIDTH: usize = 180;

/// A body, and the places of the user's number in it: to make JSON for each request would take the
/// machine from the server.
pub(crate) struct Requests {
    body: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        let body = samples::alexa(0);
        let text = std::str::from_utf8(&body).expect("JSON");
        let ends = text.match_indices(&"0".repeat(WIDTH)).map(|(begin, _)| begin + WIDTH).collect();
        Self { body: body.to_vec(), ends }
    }

    /// Makes the body of a user's request.
    pub(crate) fn of(&self, user: usize) -> Bytes {
        let (number, mut body) = (user.to_string(), self.body.clone());
        for end in &self.ends {
            body[end - number.len()..*end].copy_from_slice(number.as_bytes());
        }
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_the_sample_of_its_user() {
        let requests = Requests::new();
        for user in [0, 7, 4_711] {
            assert_eq!(requests.of(user), samples::alexa(user));
        }
    }
}
