/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for glibc's <argp.h>, which musl lacks. elfutils has helpers for its command line tools in
 * the same folder as what libelf needs, and they only have to compile: nothing of them is linked into
 * igx. So these are declarations with the names and shapes that glibc documents, and no parser.
 */
#ifndef IGX_MUSL_ARGP_H
#define IGX_MUSL_ARGP_H

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

typedef int error_t;

struct argp;
struct argp_child;

struct argp_state {
	const struct argp *root_argp;
	int argc;
	char **argv;
	int next;
	unsigned int flags;
	unsigned int arg_num;
	int quoted;
	void *input;
	void **child_inputs;
	void *hook;
	char *name;
	FILE *err_stream;
	FILE *out_stream;
	void *pstate;
};

struct argp_option {
	const char *name;
	int key;
	const char *arg;
	int flags;
	const char *doc;
	int group;
};

struct argp {
	const struct argp_option *options;
	error_t (*parser)(int key, char *arg, struct argp_state *state);
	const char *args_doc;
	const char *doc;
	const struct argp_child *children;
	char *(*help_filter)(int key, const char *text, void *input);
	const char *argp_domain;
};

#define OPTION_ARG_OPTIONAL 0x1
#define OPTION_HIDDEN 0x2
#define ARGP_ERR_UNKNOWN E2BIG
#define ARGP_HELP_EXIT_OK 0x200
#define ARGP_HELP_SEE 0x04

extern error_t argp_err_exit_status;
void argp_help(const struct argp *argp, FILE *stream, unsigned int flags, char *name);

#endif
