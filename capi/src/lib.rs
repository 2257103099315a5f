//! Policies of aaren for C. `include/aaren.h` says what every function does; this is what is behind it.
//!
//! No panic leaves a function: it becomes an error like any other.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use aaren_agents::export::{Player, Source};
use aaren_policy::{ActionBatch, ActionSpec, NO_CHOICE};
use anyhow::{Context, Result, anyhow, bail, ensure};

/// A policy, and where its episode is.
pub struct AarenPolicy(Player);

thread_local! {
    static ERROR: RefCell<CString> = RefCell::default();
}

/// What `work` gives, or `failed` with the error kept for `aaren_error`.
fn guarded<T>(failed: T, work: impl FnOnce() -> Result<T>) -> T {
    let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("this is a fault of aaren: {}", text.unwrap_or("a panic")))
    });
    done.unwrap_or_else(|error| {
        let text = format!("{error:#}").replace('\0', " ");
        ERROR.with_borrow_mut(|last| *last = CString::new(text).unwrap_or_default());
        failed
    })
}

/// # Safety
/// `policy` is NULL or came from `aaren_load` and was not freed.
unsafe fn player<'a>(policy: *const AarenPolicy) -> Result<&'a Player> {
    // SAFETY: as the caller promises.
    unsafe { policy.as_ref() }.map(|policy| &policy.0).context("the policy is NULL")
}

/// # Safety
/// As [`player`], and nobody else uses it meanwhile.
unsafe fn player_mut<'a>(policy: *mut AarenPolicy) -> Result<&'a mut Player> {
    // SAFETY: as the caller promises.
    unsafe { policy.as_mut() }.map(|policy| &mut policy.0).context("the policy is NULL")
}

/// Numbers in an action.
fn action_size(player: &Player) -> usize {
    match player.action() {
        ActionSpec::Continuous { low, .. } => low.len(),
        ActionSpec::Discrete { .. } => 1,
    }
}

/// Loads a policy.
///
/// # Safety
/// `folder` is NULL or a text that ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aaren_load(folder: *const c_char) -> *mut AarenPolicy {
    guarded(std::ptr::null_mut(), || {
        ensure!(!folder.is_null(), "the folder is NULL");
        // SAFETY: it is not NULL and ends with a zero, as the caller promises.
        let folder = unsafe { CStr::from_ptr(folder) }.to_str().context("the folder's name is not UTF-8")?;
        let source = Source::find(Path::new(folder))?;
        Ok(Box::into_raw(Box::new(AarenPolicy(Player::new(source)?))))
    })
}

/// Frees a policy.
///
/// # Safety
/// `policy` is NULL or came from `aaren_load` and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aaren_free(policy: *mut AarenPolicy) {
    guarded((), || {
        if !policy.is_null() {
            // SAFETY: it came from a box and is freed once, as the caller promises.
            drop(unsafe { Box::from_raw(policy) });
        }
        Ok(())
    });
}

/// Numbers in an observation.
///
/// # Safety
/// As [`aaren_free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aaren_observation_size(policy: *const AarenPolicy) -> usize {
    // SAFETY: as the caller promises.
    guarded(0, || Ok(unsafe { player(policy) }?.observation_width()))
}

/// Numbers in an action.
///
/// # Safety
/// As [`aaren_free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aaren_action_size(policy: *const AarenPolicy) -> usize {
    // SAFETY: as the caller promises.
    guarded(0, || Ok(action_size(unsafe { player(policy) }?)))
}

/// Whether actions are choices.
///
/// # Safety
/// As [`aaren_free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aaren_is_discrete(policy: *const AarenPolicy) -> c_int {
    // SAFETY: as the caller promises.
    guarded(0, || Ok(unsafe { player(policy) }?.action().is_discrete().into()))
}

/// Begins an episode.
///
/// # Safety
/// As [`aaren_free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aaren_reset(policy: *mut AarenPolicy, target_return: f64) -> c_int {
    guarded(1, || {
        // SAFETY: as the caller promises.
        unsafe { player_mut(policy) }?.begin(Some(target_return).filter(|target| !target.is_nan()))?;
        Ok(0)
    })
}

/// The action for an observation.
///
/// # Safety
/// As [`aaren_free`]; `observation` has as many numbers and `action` as much room as their sizes say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aaren_step(policy: *mut AarenPolicy, observation: *const f64, reward: f64, action: *mut f64) -> c_int {
    guarded(1, || {
        // SAFETY: as the caller promises.
        let player = unsafe { player_mut(policy) }?;
        ensure!(!observation.is_null() && !action.is_null(), "the observation or the action is NULL");
        let size = action_size(player);
        // SAFETY: it is not NULL and has as many numbers, as the caller promises.
        let observation = unsafe { std::slice::from_raw_parts(observation, player.observation_width()) };
        let numbers: Vec<f64> = match player.step(observation, reward)? {
            ActionBatch::Continuous(components) => components.iter().map(|&component| component.into()).collect(),
            ActionBatch::Discrete(choices) if choices.contains(&NO_CHOICE) => bail!("the policy's outputs are not numbers"),
            ActionBatch::Discrete(choices) => choices.iter().map(|&choice| choice as f64).collect(),
        };
        ensure!(numbers.len() == size && numbers.iter().all(|number| number.is_finite()), "the policy's outputs are not numbers");
        // SAFETY: it is not NULL and has room for as many numbers, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(action, size) }.copy_from_slice(&numbers);
        Ok(0)
    })
}

/// Bytes that the state takes now.
///
/// # Safety
/// As [`aaren_free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aaren_state_size(policy: *const AarenPolicy) -> usize {
    // SAFETY: as the caller promises.
    guarded(0, || Ok(unsafe { player(policy) }?.save()?.len()))
}

/// Writes the state.
///
/// # Safety
/// As [`aaren_free`]; `bytes` has room for `size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aaren_state_save(policy: *const AarenPolicy, bytes: *mut c_void, size: usize) -> c_int {
    guarded(1, || {
        // SAFETY: as the caller promises.
        let state = unsafe { player(policy) }?.save()?;
        ensure!(!bytes.is_null(), "there is no place for the state: it is NULL");
        ensure!(size == state.len(), "a state of {} bytes and room for {size}", state.len());
        // SAFETY: it is not NULL and has room for `size` bytes, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(bytes.cast::<u8>(), size) }.copy_from_slice(&state);
        Ok(0)
    })
}

/// Goes on from a state.
///
/// # Safety
/// As [`aaren_free`]; `bytes` has `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aaren_state_restore(policy: *mut AarenPolicy, bytes: *const c_void, size: usize) -> c_int {
    guarded(1, || {
        // SAFETY: as the caller promises.
        let player = unsafe { player_mut(policy) }?;
        ensure!(!bytes.is_null(), "there is no state: it is NULL");
        // SAFETY: it is not NULL and has `size` bytes, as the caller promises.
        player.restore(unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), size) })?;
        Ok(0)
    })
}

/// The last error of this thread.
#[unsafe(no_mangle)]
pub extern "C" fn aaren_error() -> *const c_char {
    ERROR.with_borrow(|error| error.as_ptr())
}
