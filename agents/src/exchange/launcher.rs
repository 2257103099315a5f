//! What a launcher of MPI processes (mpirun, mpiexec, srun) says in the environment, before MPI is asked.

/// Where launchers say how many processes they started: Open MPI, and what speaks PMI (MPICH, Intel MPI, Slurm).
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE"];
const RANKS: [&str; 4] = ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK"];

/// The variable that says that this is one of several processes that were started together, and how many they are.
///
/// ```
/// // Tests are started one by one.
/// assert!(aaren_agents::exchange::launcher::started_together().is_none());
/// ```
pub fn started_together() -> Option<(&'static str, usize)> {
    let number = |name| std::env::var(name).ok()?.parse::<usize>().ok();
    SIZES.into_iter().find_map(|name| Some((name, number(name)?))).filter(|&(_, size)| size > 1)
}

/// Whether this process is another than the first of those that were started together.
pub fn is_follower() -> bool {
    RANKS.into_iter().find_map(|name| std::env::var(name).ok()).is_some_and(|rank| rank != "0")
}
