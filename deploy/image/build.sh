#!/usr/bin/env bash
# Builds the image with whatever builder is there: `./dev image`, see usage(). Prints the image's name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage() {
    cat <<'TEXT'
usage: ./dev image [--builder docker|podman|buildah] [--binary FILE] [--base IMAGE] [--name NAME] [--tag TAG] [--platform P]
  --builder   the first of the three that works unless told
  --binary    put this binary in, built on a Debian 12, in place of compiling one in the image's own stage
  --base      a Debian 12 to build on (docker.io/library/debian:bookworm-slim)
  --name      repository (forebay)
  --tag       the version when the checkout is that of a tag v<version>, else <version>-g<commit>, with -dirty when
              files differ from the commit
  --platform  linux/amd64 or linux/arm64: the builder must be able to run it (docs/install.md)
TEXT
}

die() {
    printf 'dev: image: %s\n' "$*" >&2
    exit 1
}

# Prints the builder to use.
choose_builder() {
    local builder
    for builder in docker podman buildah; do
        command -v "$builder" >/dev/null || continue
        # The client may be there without its daemon.
        if [[ $builder == docker ]]; then timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || continue; fi
        echo "$builder"
        return
    done
    die "no docker with a running daemon, no podman, no buildah; on Debian: apt-get install buildah"
}

# What of the sources has been changed is told by git; without it the version stands alone.
default_tag() {
    local version commit dirty=""
    version=$(cat VERSION)
    commit=$(git rev-parse --short=12 HEAD 2>/dev/null) || {
        echo "$version"
        return
    }
    git diff --quiet HEAD 2>/dev/null || dirty=-dirty
    if [[ -z $dirty && $(git tag --points-at HEAD --list "v$version") ]]; then
        echo "$version"
    else
        echo "$version-g$commit$dirty"
    fi
}

main() {
    local builder="" binary="" base="" name=forebay tag="" platform="" strip=strip
    while (($#)); do
        case $1 in
            --builder | --binary | --base | --name | --tag | --platform)
                [[ -n ${2:-} ]] || die "$1 needs a value"
                printf -v "${1#--}" %s "$2"
                shift 2
                ;;
            -h | --help)
                usage
                return
                ;;
            *)
                usage >&2
                exit 2
                ;;
        esac
    done
    case $builder in
        "") builder=$(choose_builder) ;;
        docker | podman | buildah) command -v "$builder" >/dev/null || die "$builder is not installed" ;;
        *) die "no builder \"$builder\"; there are: docker podman buildah" ;;
    esac
    : "${tag:=$(default_tag)}"

    local time arguments
    time=$(git log -1 --format=%ct 2>/dev/null || echo 0)
    arguments=(--build-arg "VERSION=$(cat VERSION)" --build-arg "SOURCE_DATE_EPOCH=$time"
        --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" -t "$name:$tag")
    [[ -z $base ]] || arguments+=(--build-arg "BASE=$base")
    [[ -z $platform ]] || arguments+=(--platform "$platform")
    if [[ -n $binary ]]; then
        [[ -f $binary ]] || die "$binary: no such file"
        mkdir -p build/image
        # Of another platform: by the tools of Debian's cross compiler.
        [[ $platform != linux/arm64 || $(uname -m) == aarch64 ]] || strip=aarch64-linux-gnu-strip
        "$strip" --strip-debug -o build/image/forebay "$binary"
        arguments+=(--build-arg BINARY=build/image/forebay)
    fi
    case $builder in
        docker) DOCKER_BUILDKIT=1 docker build "${arguments[@]}" . >&2 ;;
        *)
            # The files' times, and what else would differ from build to build.
            arguments+=(--timestamp "$time")
            [[ $builder == podman ]] || arguments+=(--layers)
            [[ -z $binary ]] || arguments+=(--layers=false)
            "$builder" build "${arguments[@]}" . >&2
            ;;
    esac
    echo "$name:$tag"
}

main "$@"
