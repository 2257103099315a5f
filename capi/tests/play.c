/* Steps a policy of a folder 500 times with resets, saves and restores its state on the way, and prints every action to the bit. */
#include "aaren.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 1;

/* A number in [-1, 1), as the test in Rust draws it. */
static double draw(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) / 4503599627370496.0 - 1.0;
}

static void check(int failed) {
    if (failed) {
        fprintf(stderr, "%s\n", aaren_error());
        exit(1);
    }
}

int main(int count, char **arguments) {
    AarenPolicy *policy = count == 2 ? aaren_load(arguments[1]) : NULL;
    if (!policy) {
        fprintf(stderr, "%s\n", aaren_error());
        return 1;
    }
    size_t width = aaren_observation_size(policy), actions = aaren_action_size(policy);
    double *observation = malloc(width * sizeof *observation), *action = malloc(actions * sizeof *action);
    if (aaren_step(policy, observation, 0.0, action) == 0 || !strstr(aaren_error(), "no episode")) return 2;
    if (aaren_reset(policy, NAN) == 0 && !getenv("HAS_RETURN")) return 3;
    void *state = NULL;
    size_t size = 0;
    for (int step = 0; step < 500; step++) {
        if (step % 37 == 0) check(aaren_reset(policy, 3.0 + step % 2));
        if (step == 100) {
            size = aaren_state_size(policy);
            state = malloc(size);
            check(aaren_state_save(policy, state, size));
            if (aaren_state_save(policy, state, size + 1) == 0) return 4;
        }
        for (size_t i = 0; i < width; i++) observation[i] = draw();
        check(aaren_step(policy, observation, 0.25 * (step % 3), action));
        for (size_t i = 0; i < actions; i++) {
            uint64_t bits;
            memcpy(&bits, &action[i], sizeof bits);
            printf("%016" PRIx64 " ", bits);
        }
        printf("\n");
        if (step == 103) check(aaren_state_restore(policy, state, size));
    }
    if (aaren_state_restore(policy, "nothing", 7) == 0) return 5;
    free(state), free(observation), free(action);
    aaren_free(policy);
    return 0;
}
