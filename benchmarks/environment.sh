# shellcheck shell=sh
# Sourced: virtual environments of pinned Python packages, in the cache folder, made anew only when their
# requirements change.

# environment_packages: the folder that the packages of PYTHON's environment lie in.
environment_packages() {
    "$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
}

# fill_environment REQUIREMENTS [FOLDER…]: `environment` with those packages, unless it is there.
fill_environment() {
    cmp -s "$1" "$environment/requirements.txt" && return 0
    echo "installing the packages of $1 into $environment …" >&2
    rm -rf "$environment"
    python3 -m venv "$environment" || return 1
    requirements=$1
    shift
    [ $# = 0 ] || printf '%s\n' "$@" >"$(environment_packages)/others.pth"
    # One at a time, in order: what comes first decides which variant the others find.
    while read -r package; do
        case $package in '' | '#'*) continue ;; esac
        if ! "$environment/bin/pip" install --quiet --disable-pip-version-check "$package" \
            >"$environment/pip.log" 2>&1 </dev/null; then
            cat "$environment/pip.log" >&2
            ! grep -q -E 'NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|Read timed out' \
                "$environment/pip.log" || return 77
            echo "cannot install $package" >&2
            return 1
        fi
    done <"$requirements"
    cp "$requirements" "$environment/requirements.txt"
}

# make_environment NAME REQUIREMENTS [FOLDER…]: sets PYTHON, which finds the packages of those folders too, behind its
# own. Fails with 77 when the network is away, else with 1. Two runs at once make it once.
make_environment() {
    environment=${XDG_CACHE_HOME:-$HOME/.cache}/pquant/venv-$1
    PYTHON=$environment/bin/python
    mkdir -p "$(dirname "$environment")"
    exec 9>"$environment.lock"
    flock 9
    made=0
    shift
    fill_environment "$@" || made=$?
    exec 9>&-
    return $made
}
