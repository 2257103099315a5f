/* Policies of aaren for C and whatever calls C.
 *
 * A policy is loaded from a folder that `aaren export RUN --c FOLDER` wrote, or from any run, checkpoint or saved policy. It plays one
 * environment: `aaren_reset` begins an episode, `aaren_step` gives the action for an observation. Observations go in as the environment
 * shows them, actions come out as it takes them: normalization and bounds are inside.
 *
 * Functions that can fail give NULL or a number that is not 0; `aaren_error` then says why. A policy belongs to one thread at a
 * time; different policies may be stepped by different threads. Nothing here writes to a file or a terminal.
 */
#ifndef AAREN_H
#define AAREN_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A policy, and where its episode is. */
typedef struct AarenPolicy AarenPolicy;

/* Loads a policy from a folder. NULL if there is none or it is damaged. Free it with aaren_free. */
AarenPolicy *aaren_load(const char *folder);

/* Frees a policy. NULL is nothing to free. */
void aaren_free(AarenPolicy *policy);

/* Numbers in an observation; 0 of NULL. */
size_t aaren_observation_size(const AarenPolicy *policy);

/* Numbers in an action: the components of a continuous one, 1 for a discrete one; 0 of NULL. */
size_t aaren_action_size(const AarenPolicy *policy);

/* 1 if actions are choices, counted as the environment counts them; else 0. */
int aaren_is_discrete(const AarenPolicy *policy);

/* Begins an episode. `target_return` is the return to ask for, in units of reward; NAN asks for the one that the policy's job asks
 * for first. Policies that are not told a return do not read it. Gives 0, or 1 for an error. */
int aaren_reset(AarenPolicy *policy, double target_return);

/* The action for an observation. `reward` is that of the last action, and not read at the first step of an episode.
 * `observation` has aaren_observation_size numbers, `action` room for aaren_action_size. Gives 0, or 1 for an error: then
 * `action` is as it was. */
int aaren_step(AarenPolicy *policy, const double *observation, double reward, double *action);

/* Bytes that aaren_state_save writes now. They change from step to step; 0 for an error. */
size_t aaren_state_size(const AarenPolicy *policy);

/* Writes all that the policy carries between two steps into `size` bytes, aaren_state_size of them. Gives 0, or 1 for an error. */
int aaren_state_save(const AarenPolicy *policy, void *bytes, size_t size);

/* Goes on from what aaren_state_save wrote, of the same policy and the same version. Gives 0, or 1 for an error: then the policy is as
 * it was. */
int aaren_state_restore(AarenPolicy *policy, const void *bytes, size_t size);

/* What the last error of this thread was; empty before the first. Valid until the next error of the thread. */
const char *aaren_error(void);

#ifdef __cplusplus
}
#endif

#endif
