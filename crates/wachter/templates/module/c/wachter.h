/* The module protocol, version 1, in C with the standard library alone.
 *
 * wachter_begin() reads the request; a value of it is found by its JSON Pointer (RFC 6901, without
 * `~` escapes), as in "/input/greeting". A module ends by wachter_succeed, wachter_fail or
 * wachter_refuse. What is printed to stderr is kept as log; nothing else may go to stdout.
 *
 * Texts are UTF-8 and end with a zero byte; one that holds a zero byte itself ends there. What is
 * returned as a text is the caller's, and a module is too short-lived to free it.
 */
#ifndef WACHTER_H
#define WACHTER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A value of the request, as it is written there. */
struct wachter_value {
    const char *json;
    size_t length;
};

static char *wachter_request;
static bool wachter_dry_run;

static void wachter_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void *wachter_memory(void *old, size_t size) {
    void *new = realloc(old, size);
    if (new == NULL) wachter_fail("there is no memory for %zu bytes", size);
    return new;
}

/* --- Writing */

/* TEXT as a JSON string, quotes included. */
static char *wachter_string(const char *text) {
    char *json = wachter_memory(NULL, 6 * strlen(text) + 3), *to = json;
    *to++ = '"';
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') {
            *to++ = '\\';
            *to++ = (char)byte;
        } else if (byte < 0x20) {
            to += sprintf(to, "\\u%04x", byte);
        } else {
            *to++ = (char)byte;
        }
    }
    *to++ = '"';
    *to = 0;
    return json;
}

static char *wachter_format(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = wachter_memory(NULL, (size_t)(length < 0 ? 0 : length) + 1);
    *text = 0;
    vsnprintf(text, (size_t)(length < 0 ? 0 : length) + 1, format, again);
    va_end(again);
    return text;
}

/* LEVEL is trace, debug, info, warn, error or critical. */
__attribute__((format(printf, 2, 3), unused))
static void wachter_log(const char *level, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *message = wachter_string(wachter_format(format, arguments));
    va_end(arguments);
    printf("{\"log\":{\"level\":\"%s\",\"message\":%s}}\n", level, message);
    free(message);
}

/* A problem that begins, or with RESOLVED one that has ended. The type stands under `emits` in
 * module.yaml; SEVERITY is info, low, medium, high or critical. */
__attribute__((unused))
static void wachter_finding(const char *type, const char *severity, double confidence,
                            const char *subject, const char *message, const char *fingerprint,
                            bool resolved) {
    printf("{\"finding\":{\"type\":%s,\"severity\":\"%s\",\"confidence\":%g,\"subject\":%s,"
           "\"message\":%s,\"fingerprint\":%s%s}}\n",
           wachter_string(type), severity, confidence, wachter_string(subject),
           wachter_string(message), wachter_string(fingerprint), resolved ? ",\"resolved\":true" : "");
}

static void wachter_end(const char *outcome, bool changed, const char *message, const char *output,
                        const char *state, int code) __attribute__((noreturn));
static void wachter_end(const char *outcome, bool changed, const char *message, const char *output,
                        const char *state, int code) {
    printf("{\"result\":{\"outcome\":\"%s\",\"changed\":%s,\"message\":%s", outcome,
           changed ? "true" : "false", wachter_string(message));
    if (output != NULL) printf(",\"output\":%s", output);
    if (state != NULL) printf(",\"state\":%s", state);
    printf("}}\n");
    fflush(stdout);
    exit(code);
}

/* It was done, or there was nothing to do. OUTPUT and STATE are JSON, or NULL. */
__attribute__((noreturn, unused))
static void wachter_succeed(bool changed, const char *message, const char *output,
                            const char *state) {
    wachter_end("succeeded", changed, message, output, state, 0);
}

/* It was tried and could not be done. */
static void wachter_fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *message = wachter_format(format, arguments);
    va_end(arguments);
    wachter_end("failed", false, message, NULL, NULL, 1);
}

/* It was not tried, since something that it needs was withheld. */
__attribute__((noreturn, unused))
static void wachter_refuse(const char *message) {
    wachter_end("refused", false, message, NULL, NULL, 2);
}

/* --- Reading */

static const char *wachter_blank(const char *at) {
    return at + strspn(at, " \t\r\n");
}

/* What follows the value that begins at AT; the node writes nothing that is not JSON. */
static const char *wachter_after(const char *at) {
    int depth = 0;
    do {
        if (*at == '"') {
            for (at++; *at && *at != '"'; at++) {
                if (*at == '\\' && at[1]) at++;
            }
            if (*at) at++;
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            depth--;
            at++;
        } else if (depth > 0 && (*at == ',' || *at == ':')) {
            at++;
        } else if (*at) {
            size_t length = strcspn(at, ",:{}[]\" \t\r\n");
            at += length ? length : 1;
        }
        if (depth > 0) at = wachter_blank(at);
    } while (depth > 0 && *at);
    return at;
}

/* The value of a member or an element of the object or array at AT; NULL where there is none. */
static const char *wachter_step(const char *at, const char *name, size_t length) {
    char close = *at == '{' ? '}' : ']';
    long index = strtol(name, NULL, 10);
    if (*at != '{' && *at != '[') return NULL;
    for (at = wachter_blank(at + 1); *at && *at != close; index--) {
        bool found = close == ']' && index == 0;
        if (close == '}') {
            const char *end = wachter_after(at);
            found = (size_t)(end - at) == length + 2 && memcmp(at + 1, name, length) == 0;
            at = wachter_blank(wachter_blank(end) + 1);
        }
        if (found) return at;
        at = wachter_blank(wachter_after(at));
        if (*at == ',') at = wachter_blank(at + 1);
    }
    return NULL;
}

/* Finds a value; false where there is none. */
static bool wachter_get(const char *pointer, struct wachter_value *value) {
    const char *at = wachter_blank(wachter_request);
    while (at != NULL && *pointer == '/') {
        size_t length = strcspn(pointer + 1, "/");
        at = wachter_step(at, pointer + 1, length);
        pointer += 1 + length;
    }
    if (at == NULL) return false;
    value->json = at;
    value->length = (size_t)(wachter_after(at) - at);
    return true;
}

static unsigned wachter_code_unit(const char *at) {
    char digits[5] = {0};
    strncpy(digits, at, 4);
    return (unsigned)strtoul(digits, NULL, 16);
}

static char *wachter_utf8(char *to, unsigned long code) {
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 0x3f));
        *to++ = (char)(0x80 | (code >> 6 & 0x3f));
        *to++ = (char)(0x80 | (code & 0x3f));
    }
    return to;
}

/* The text at POINTER, or OTHERWISE where there is nothing or null. Fails where there is something
 * else. */
__attribute__((unused))
static const char *wachter_text(const char *pointer, const char *otherwise) {
    struct wachter_value value;
    if (!wachter_get(pointer, &value) || *value.json == 'n') return otherwise;
    if (*value.json != '"') wachter_fail("%s must be a text", pointer);
    char *text = wachter_memory(NULL, value.length), *to = text;
    const char *from = value.json + 1, *end = value.json + value.length - 1;
    while (from < end) {
        if (*from != '\\') {
            *to++ = *from++;
            continue;
        }
        switch (from[1]) {
        case 'b': *to++ = '\b'; break;
        case 'f': *to++ = '\f'; break;
        case 'n': *to++ = '\n'; break;
        case 'r': *to++ = '\r'; break;
        case 't': *to++ = '\t'; break;
        case 'u': {
            unsigned long code = wachter_code_unit(from + 2);
            if (code >= 0xd800 && code < 0xdc00 && end - from >= 12 && from[6] == '\\') {
                code = 0x10000 + ((code - 0xd800) << 10) + (wachter_code_unit(from + 8) - 0xdc00);
                from += 6;
            }
            to = wachter_utf8(to, code);
            from += 4;
            break;
        }
        default: *to++ = from[1];
        }
        from += 2;
    }
    *to = 0;
    return text;
}

/* The number at POINTER, or OTHERWISE where there is nothing or null. Fails where there is something
 * else. */
__attribute__((unused))
static double wachter_number(const char *pointer, double otherwise) {
    struct wachter_value value;
    if (!wachter_get(pointer, &value) || *value.json == 'n') return otherwise;
    char *end;
    double number = strtod(value.json, &end);
    if (end != value.json + value.length) wachter_fail("%s must be a number", pointer);
    return number;
}

/* Reads the request. Must come first. */
static void wachter_begin(void) {
    size_t length = 0, room = 0;
    do {
        room = room ? 2 * room : 1 << 16;
        wachter_request = wachter_memory(wachter_request, room + 1);
        length += fread(wachter_request + length, 1, room - length, stdin);
    } while (length == room);
    wachter_request[length] = 0;
    struct wachter_value value;
    if (!wachter_get("/protocol", &value)) wachter_fail("the request cannot be read");
    wachter_dry_run = wachter_get("/dry_run", &value) && *value.json == 't';
}

#endif
