//! What a launcher of MPI processes (mpirun, mpiexec, srun) says in the environment, before MPI is asked.

use std::time::Duration;

/// Where launchers say how many processes they started: Open MPI, and what speaks PMI (MPICH, Intel MPI, Slurm).
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"];
/// Slurm says it in its own way, also to what is no MPI program; where it speaks PMIx, the second one is there too.
const SLURM: [&str; 2] = ["SLURM_STEP_NUM_TASKS", "PMIX_RANK"];
const RANKS: [&str; 4] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK"];

/// The variable that says that this is one of several processes that were started together, and how many they are.
///
/// ```
/// // Tests are started one by one.
/// assert!(aaren_agents::exchange::launcher::started_together().is_none());
/// ```
pub fn started_together() -> Option<(&'static str, usize)> {
    let number = |name| std::env::var(name).ok()?.parse::<usize>().ok();
    let of_slurm = std::env::var_os(SLURM[1]).map(|_| SLURM[0]);
    let mut names = SIZES.into_iter().chain(of_slurm);
    names.find_map(|name| Some((name, number(name)?))).filter(|&(_, size)| size > 1)
}

/// Leaves it to the first of the processes that were started together to say what is wrong with what all of them were asked for.
pub fn let_the_first_speak() {
    if is_follower() {
        // A launcher ends all when one has ended: the first shall be heard before that.
        std::thread::sleep(Duration::from_millis(500));
        std::process::exit(1);
    }
}

/// Whether this process is another than the first of those that were started together.
pub fn is_follower() -> bool {
    RANKS.into_iter().find_map(|name| std::env::var(name).ok()).is_some_and(|rank| rank != "0")
}
