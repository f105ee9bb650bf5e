//! Integers on the wire, within what every JSON reader keeps exact.

/// The largest integer of the API, 2^53 − 1; the smallest is its negative (RFC 8259 §6).
///
/// A JavaScript program would round a larger one, and write the rounded one back.
pub const INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// Whether every JSON reader keeps this integer exact.
pub const fn is_exact(value: i64) -> bool {
    -INTEGER_MAX <= value && value <= INTEGER_MAX
}
