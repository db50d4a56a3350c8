//! Steps: measured values made coarse, so that what always moves a little is not told each time.
//! Whole numbers only; the caller chooses the unit.

/// The value to show for a measured one: a multiple of `step`, or what is shown already while the
/// measured one is within three quarters of a step of it. Without that, a value at the edge between
/// two steps would change with every look.
pub(super) fn settle(measured: i64, step: i64, shown: Option<i64>) -> i64 {
    let step = step.max(1);
    match shown {
        Some(shown) if shown.abs_diff(measured) <= step.unsigned_abs() / 4 * 3 => shown,
        _ => measured.saturating_add(step / 2).div_euclid(step).saturating_mul(step),
    }
}

/// The step of a load average, both in hundredths: half a process, and from a load of 4 on an
/// eighth of the next power of two.
pub(super) fn load_step(hundredths: i64) -> i64 {
    let whole = u64::try_from(hundredths / 100).unwrap_or_default();
    let above = whole.saturating_add(1).checked_next_power_of_two().unwrap_or(1 << 62);
    i64::try_from(above).unwrap_or(i64::MAX).saturating_mul(100).saturating_div(8).max(50)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_step_is_shown_first() {
        for (measured, step, expected) in [
            (0, 5, 0),
            (2, 5, 0),
            (3, 5, 5),
            (7, 5, 5),
            (8, 5, 10),
            (-2, 5, 0),
            (-3, 5, -5),
            (7, 1, 7),
        ] {
            assert_eq!(settle(measured, step, None), expected, "{measured} by {step}");
        }
    }

    #[test]
    fn a_shown_value_stays_while_the_measured_one_is_near() {
        for (measured, shown, expected) in
            [(80, 80, 80), (110, 80, 80), (111, 80, 120), (50, 80, 80), (49, 80, 40)]
        {
            assert_eq!(settle(measured, 40, Some(shown)), expected, "{measured} at {shown}");
        }
    }

    #[test]
    fn the_step_of_a_load_grows_with_it() {
        for (load, step) in
            [(0, 50), (399, 50), (400, 100), (799, 100), (800, 200), (3_000, 400), (12_800, 3_200)]
        {
            assert_eq!(load_step(load), step, "{load}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_near_what_is_measured_and_settles_at_once(
            measured in -1_000_000_i64..1_000_000,
            step in 1_i64..10_000,
            shown in proptest::option::of(-1_000_000_i64..1_000_000),
        ) {
            let first = settle(measured, step, shown);
            prop_assert!(first.abs_diff(measured) <= step.unsigned_abs());
            prop_assert_eq!(settle(measured, step, Some(first)), first);
        }

        #[test]
        fn no_number_makes_it_panic(measured: i64, step: i64, shown: Option<i64>) {
            settle(measured, step, shown);
            prop_assert!(load_step(measured) >= 50);
        }
    }
}
