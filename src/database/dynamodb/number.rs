//! Converts between DynamoDB's numbers, decimals of 38 digits, and JSON's: `i64`, `u64` and `f64`.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html#HowItWorks.DataTypes.Number>

use serde_json::{Number, Value};

/// From the smallest magnitude to the first that is too large.
const MAGNITUDES: std::ops::Range<f64> = 1e-130..1e126;

/// 2^64, below which JSON's numbers may be integers.
const INTEGERS: f64 = 18_446_744_073_709_551_616.0;

/// Returns the text to send, or `None` if DynamoDB cannot hold the number. `1.0` and `1` are the
/// same number to it.
pub(super) fn text(number: &Number) -> Option<String> {
    if number.is_i64() || number.is_u64() {
        return Some(number.to_string());
    }
    match number.as_f64()? {
        0.0 => Some("0".to_owned()),
        // Writes all digits: the text is read back as an integer, which must be the same number.
        float if float.fract() == 0.0 && float.abs() < INTEGERS => Some(format!("{float:.0}")),
        // Writes the shortest digits that are read back as the same `f64`, with an exponent in
        // place of many zeros.
        float if (1e-6..1e21).contains(&float.abs()) => Some(float.to_string()),
        float => MAGNITUDES.contains(&float.abs()).then(|| format!("{float:e}")),
    }
}

/// Returns the JSON number that is nearest.
pub(super) fn parse(text: &str) -> Option<Value> {
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(integer.into());
    }
    Number::from_f64(text.parse().ok()?).map(Value::Number)
}

/// Returns whether the JSON number equals `text` exactly; `None` if `text` has no JSON number.
pub(super) fn is_exact(text: &str) -> Option<bool> {
    if is_short(text) {
        return Some(true);
    }
    let Value::Number(number) = parse(text)? else { return None };
    let is_same = |written: String| written == text || Decimal::of(&written) == Decimal::of(text);
    Some(self::text(&number).is_some_and(is_same))
}

/// Returns whether `text` is a number without an exponent of so few digits that each `f64` keeps
/// them. Most are, and to look at them takes less than to read them.
/// <https://doc.rust-lang.org/std/primitive.f64.html#associatedconstant.DIGITS>
fn is_short(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    let all = digits.iter().filter(|byte| byte.is_ascii_digit()).count();
    points <= 1 && all + points == digits.len() && (1..=f64::DIGITS as usize).contains(&all)
}

/// A number in normal form, for comparison: digits without zeros at either end, times a power of
/// ten.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    pub(super) fn of(text: &str) -> Self {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [integer, fraction].concat();
        let digits = all.trim_end_matches('0');
        if digits.is_empty() {
            return Self { negative: false, digits: String::new(), exponent: 0 };
        }
        let shift = (all.len() - digits.len()) as i64 - fraction.len() as i64;
        let exponent = exponent.trim_start_matches('+').parse::<i64>().unwrap_or(0) + shift;
        Self { negative, digits: digits.trim_start_matches('0').to_owned(), exponent }
    }

    /// Returns the bytes that the number takes in an item: one, plus one for every two digits
    /// aligned at the decimal point, plus one for the sign.
    pub(super) fn size(&self) -> usize {
        let padding = usize::from(self.exponent.rem_euclid(2) == 1 && !self.digits.is_empty());
        1 + (self.digits.len() + padding).div_ceil(2) + usize::from(self.negative)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value)]
    fn round_trip(number: Value) -> (Value, bool) {
        let text = text(number.as_number().unwrap()).unwrap();
        (parse(&text).unwrap(), is_exact(&text).unwrap())
    }

    #[test]
    fn numbers_come_back_exactly() {
        for number in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(round_trip(number.into()), (number.into(), true));
        }
        assert_eq!(round_trip(u64::MAX.into()), (u64::MAX.into(), true));
        for float in [0.1, -2.5, 1e-130, 9.99e125, 1.2345678901234567e22, 5e300_f64.sqrt().sqrt()] {
            assert_eq!(round_trip(float.into()), (float.into(), true));
        }
    }

    #[test]
    fn a_whole_float_comes_back_as_the_same_integer() {
        for (float, integer) in [
            (1.0, json!(1)),
            (1.225_285_954_560_723e17, json!(122_528_595_456_072_304_i64)),
            (1.844_674_407_370_955e19, json!(18_446_744_073_709_549_568_u64)),
            (-9.223_372_036_854_776e18, json!(i64::MIN)),
        ] {
            assert_eq!(round_trip(float.into()), (integer, true));
        }
    }

    #[test]
    fn a_number_out_of_range_has_no_text() {
        for float in [1e126, -1e126, f64::MAX, 9.9e-131, f64::MIN_POSITIVE] {
            assert_eq!(text(&Number::from_f64(float).unwrap()), None);
        }
    }

    #[test]
    fn digits_beyond_json_are_noticed() {
        assert_eq!(is_exact("1234567890123456789012"), Some(false));
        assert_eq!(is_exact("10000000000000000000000"), Some(true));
        assert_eq!(is_exact("0.30000000000000000001"), Some(false));
        for text in ["no number", "", "-", ".", "-.", "1.2.3", "1-2", "--1", "1e400", "NaN"] {
            assert_eq!((parse(text), is_exact(text)), (None, None), "{text}");
        }
    }

    proptest! {
        /// Also for the numbers that are not read to be sure of it.
        #[test]
        fn a_number_is_exact_if_its_digits_come_back(text in r"-?[0-9]{0,12}\.?[0-9]{0,8}(E-?[0-9]{1,2})?") {
            let written = |value: Value| self::text(value.as_number().unwrap());
            let is_same = |written: String| Decimal::of(&written) == Decimal::of(&text);
            let expected = parse(&text).map(|value| written(value).is_some_and(is_same));
            prop_assert_eq!(is_exact(&text), expected);
        }
    }

    /// Checked against DynamoDB Local.
    #[test]
    fn sizes_are_those_of_dynamodb() {
        let sizes = [
            ("0", 1),
            ("1", 2),
            ("-1", 3),
            ("12", 2),
            ("123", 3),
            ("-123", 4),
            ("100", 2),
            ("0.5", 2),
            ("1.5", 3),
            ("12345678901234567890123456789012345678", 20),
        ];
        for (text, size) in sizes {
            assert_eq!(Decimal::of(text).size(), size, "{text}");
        }
    }
}
