#!/bin/sh
# A git credential helper that hands out what stands in the environment of this one git process.
# Git calls it for the origin that the credential was given for, and for no other (credential.<origin>.helper).
if [ "$1" = get ]; then
    printf 'username=%s\npassword=%s\n' "$BUILDSPECD_GIT_USERNAME" "$BUILDSPECD_GIT_PASSWORD"
fi
