/* replay.c - runs a fuzz target without libFuzzer: every file of a folder, then copies of them with a few bytes changed.
 *
 *   replay_NAME FOLDER
 *
 * The changes come from a fixed seed, so a failure repeats. The input it happened on is left in ./NAME.failure.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILES_MAX = 4096, INPUT_MAX = 64 * 1024, CHANGED_COPIES = 100000 };

struct input {
    uint8_t *data;
    size_t size;
};

static struct input inputs[FILES_MAX];
static size_t input_count;
static struct input current; /* what the target works on, for the signal handler */
static char failure_file[256];

static uint32_t random_below(uint32_t limit)
{
    static uint64_t state = 0x9e3779b97f4a7c15;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % limit;
}

static void keep_failure(int number)
{
    static const char text[] = "the input is in ";
    int fd = open(failure_file, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    ssize_t n = write(fd, current.data, current.size);

    n += write(STDERR_FILENO, text, sizeof(text) - 1);
    n += write(STDERR_FILENO, failure_file, strlen(failure_file));
    n += write(STDERR_FILENO, "\n", 1);
    signal(number, SIG_DFL);
    raise(n < 0 ? SIGKILL : number);
}

/* From a copy of exact size, so that a sanitizer or valgrind sees a read past its end. */
static void run(const uint8_t *data, size_t size)
{
    current.size = size;
    current.data = malloc(size ? size : 1);
    if (size)
        memcpy(current.data, data, size);
    LLVMFuzzerTestOneInput(current.data, size);
    free(current.data);
    current = (struct input){0};
}

static void run_changed(const struct input *in)
{
    static uint8_t copy[INPUT_MAX];
    size_t size = in->size;

    memcpy(copy, in->data, size);
    for (uint32_t changes = 1 + random_below(4); changes && size; changes--) {
        uint32_t at = random_below((uint32_t)size);
        switch (random_below(4)) {
        case 0:
            copy[at] ^= (uint8_t)(1u << random_below(8));
            break;
        case 1:
            copy[at] = (uint8_t)random_below(256);
            break;
        case 2: /* cut the end off */
            size = at;
            break;
        default: /* take one byte out */
            memmove(copy + at, copy + at + 1, size - at - 1);
            size--;
        }
    }
    run(copy, size);
}

static void read_input(const char *folder, const char *name)
{
    static uint8_t bytes[INPUT_MAX];
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    struct input *in = &inputs[input_count++];
    in->size = fread(bytes, 1, sizeof(bytes), f);
    in->data = malloc(in->size ? in->size : 1);
    memcpy(in->data, bytes, in->size);
    fclose(f);
}

static void read_folder(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);

    if (count < 0) {
        perror(folder);
        exit(1);
    }
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.' && input_count < FILES_MAX)
            read_input(folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    snprintf(failure_file, sizeof(failure_file), "%s.failure", argv[0]);
    read_folder(argv[1]);
    if (input_count == 0) {
        fprintf(stderr, "%s: no inputs\n", argv[1]);
        return 1;
    }
    signal(SIGABRT, keep_failure);
    signal(SIGSEGV, keep_failure);
    run(NULL, 0);
    for (size_t i = 0; i < input_count; i++)
        run(inputs[i].data, inputs[i].size);
    for (size_t i = 0; i < CHANGED_COPIES; i++)
        run_changed(&inputs[i % input_count]);
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].data);
    return 0;
}
