//! The cost of an action, to the bits of NumPy.

use std::ops::{Add, Mul};

use crate::env::Action;

/// `weight * sum(action^2)`, in the precision and the order of additions that NumPy uses: a float32 action gives a float32
/// cost, widened at the end.
pub(super) fn control_cost(action: Action<'_>, weight: f64) -> f64 {
    match action {
        Action::F32(values) => f64::from(weight as f32 * sum_of_squares(values)),
        Action::F64(values) => weight * sum_of_squares(values),
        Action::Discrete(_) => unreachable!("actions are checked before the task sees them"),
    }
}

/// NumPy's sum of up to 128 squares: left to right below eight, else eight running sums joined as a tree, then the rest.
pub(super) fn sum_of_squares<T: Copy + Default + Add<Output = T> + Mul<Output = T>>(values: &[T]) -> T {
    let mut chunks = values.chunks_exact(8);
    let mut sum = chunks.next().map(|first| {
        let mut sums: [T; 8] = std::array::from_fn(|i| first[i] * first[i]);
        for chunk in chunks.by_ref() {
            sums.iter_mut().zip(chunk).for_each(|(sum, &value)| *sum = *sum + value * value);
        }
        let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
        ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    });
    for &value in chunks.remainder() {
        sum = Some(sum.map_or(value * value, |sum| sum + value * value));
    }
    sum.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_summed_in_numpys_order() {
        // np.sum(np.square(a)) for float32 a = [0.1, 0.2, ...]: the order shows in the last bits.
        let values: Vec<f32> = (1..=11).map(|i| 0.1 * i as f32).collect();
        let squares: Vec<f32> = values.iter().map(|value| value * value).collect();
        assert_eq!(sum_of_squares(&values[..3]), (squares[0] + squares[1]) + squares[2]);
        let s = &squares;
        let tree = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
        assert_eq!(sum_of_squares(&values), ((tree + s[8]) + s[9]) + s[10]);
        assert_eq!(sum_of_squares::<f64>(&[]), 0.0);
    }

    #[test]
    fn the_cost_of_a_float32_action_is_a_float32() {
        let (narrow, wide) = ([0.1_f32, -1.7, 0.3], [f64::from(0.1_f32), f64::from(-1.7_f32), f64::from(0.3_f32)]);
        let cost = control_cost(Action::F32(&narrow), 1e-3);
        assert_eq!(cost, f64::from(cost as f32));
        let difference = (cost - control_cost(Action::F64(&wide), 1e-3)).abs();
        assert!(difference > 0.0 && difference < 1e-9, "{difference}");
    }
}
