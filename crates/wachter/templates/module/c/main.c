/* {{name}}: greets, and remembers how often. Replace it by what your module does. */
#include "wachter.h"

int main(void) {
    wachter_begin();
    /* Input, with its default. input.schema.json describes it. */
    const char *greeting = wachter_text("/input/greeting", "Hello");
    /* State: what the last run left; nothing at the first. */
    int count = (int)wachter_number("/state/count", 0) + 1;
    const char *last = wachter_text("/state/greeting", NULL);
    wachter_log("info", "run number %d", count);

    /* Report a problem like this, with its topic under `emits` in module.yaml:
     * wachter_finding("{{name}}.problem", "low", 1, "greeting", "the greeting is short",
     *                 "{{name}}.problem:greeting", false); */

    char output[32], *state = wachter_memory(NULL, 6 * strlen(greeting) + 64);
    sprintf(output, "{\"count\":%d}", count);
    sprintf(state, "{\"count\":%d,\"greeting\":%s}", count, wachter_string(greeting));
    /* A second run with the same input finds nothing to do. */
    if (last != NULL && strcmp(last, greeting) == 0) {
        wachter_succeed(false, greeting, output, state);
    }
    /* In a dry run say what would be done, and do nothing. */
    if (wachter_dry_run) {
        wachter_succeed(true, "would greet", output, NULL);
    }
    /* Do it here. */
    wachter_succeed(true, greeting, output, state);
}
