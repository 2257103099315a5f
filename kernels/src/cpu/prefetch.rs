//! Memory that is asked for before it is needed.

/// Asks for the memory of some numbers, and goes on without waiting for it.
#[inline(always)]
pub(crate) fn prefetch<T>(numbers: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(const { 64 / size_of::<T>() }) {
        // SAFETY: a prefetch reads nothing and faults nowhere, whatever the address; this one is of a slice besides.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}
