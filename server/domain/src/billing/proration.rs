//! Shares of a period's price: whole civil days, integers, halves rounded away from zero.

/// The price of the days `from..to` of a period of `total` days that costs `amount`.
///
/// A share is the difference of two rounded running sums. The shares of any partition of a period
/// therefore add up to exactly `amount`. Returns `None` if the share does not fit in 64 bits, which
/// cannot happen for `0 ≤ from ≤ to ≤ total` and an `amount` that does.
pub(crate) fn share(amount: i128, from: i64, to: i64, total: i64) -> Option<i64> {
    let until = |day: i64| rounded(amount.checked_mul(i128::from(day))?, i128::from(total));
    i64::try_from(until(to)?.checked_sub(until(from)?)?).ok()
}

/// `dividend / divisor` with halves rounded away from zero; the divisor must be positive.
fn rounded(dividend: i128, divisor: i128) -> Option<i128> {
    debug_assert!(divisor > 0, "a period has at least one day");
    let half = divisor / 2;
    let shifted =
        if dividend >= 0 { dividend.checked_add(half)? } else { dividend.checked_sub(half)? };
    let quotient = shifted.checked_div(divisor)?;
    // An odd divisor truncates `divisor / 2`. That is exact, because it has no ties.
    Some(quotient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_are_rounded_away_from_zero() {
        assert_eq!(share(5, 0, 1, 2), Some(3));
        assert_eq!(share(-5, 0, 1, 2), Some(-3));
        assert_eq!(share(1, 0, 1, 3), Some(0));
        assert_eq!(share(2, 0, 1, 3), Some(1));
    }

    proptest! {
        #[test]
        fn any_partition_of_a_period_sums_to_the_full_price(
            amount in any::<i64>(),
            mut cuts in proptest::collection::vec(0i64..=366, 0..8),
        ) {
            cuts.push(0);
            cuts.push(366);
            cuts.sort_unstable();
            let sum: i128 = cuts
                .windows(2)
                .map(|pair| i128::from(share(i128::from(amount), pair[0], pair[1], 366).unwrap()))
                .sum();
            prop_assert_eq!(sum, i128::from(amount));
        }

        #[test]
        fn a_share_is_within_one_unit_of_the_exact_quotient(
            amount in -1_000_000i64..1_000_000, from in 0i64..100, days in 0i64..100,
        ) {
            let to = (from + days).min(100);
            // Both sides are multiplied by 100 to stay whole numbers.
            let exact = amount * (to - from);
            let got = share(i128::from(amount), from, to, 100).unwrap() * 100;
            prop_assert!((got - exact).abs() <= 100);
        }
    }
}
