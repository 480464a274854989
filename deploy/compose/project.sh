# What the scripts beside this file share.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf '%s\n' "$*"; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# project [-p NAME] [-f FILE]... [ARGUMENT]...: which project the script works on; `arguments` are the others.
options=()
arguments=()
named_files=
project() {
  while (($#)); do
    case $1 in
      -p | -f)
        (($# > 1)) || die "Expected a value after $1"
        [[ $1 == -p ]] || named_files=true
        options+=("$1" "$2")
        shift 2
        ;;
      *)
        arguments+=("$1")
        shift
        ;;
    esac
  done
  [[ $(compose ps --quiet) ]] || die 'Nothing of this project runs. Start it: docker compose up --build --wait'
  # Not a member: members keep their containers when the files change.
  local containers
  containers=$(compose ps --quiet facade logging messages)
  [[ -z $containers ]] || same_files "${containers%%$'\n'*}"
}

compose() { docker compose "${options[@]}" "$@"; }

# same_files CONTAINER: refuses to go on when the project was started with other files than the default ones, and
# nobody says which. A forgotten file would change what runs: a handler that is missing handles nothing.
same_files() {
  [[ $named_files || ${COMPOSE_FILE:-} ]] && return
  ! grep -qs '^COMPOSE_FILE=' .env || return 0
  local directory files default=compose.yaml
  [[ ! -e compose.override.yaml ]] || default+=,compose.override.yaml
  directory=$(label "$1" com.docker.compose.project.working_dir)
  files=$(label "$1" com.docker.compose.project.config_files)
  files=${files//"$directory/"/}
  [[ $files == "$default" ]] ||
    die "The project was started with other files. Name them: ${0} -f ${files//,/ -f }"
}

name() { docker inspect --format '{{.Name}}' "$1" | cut -c2-; }
label() { docker inspect --format "{{index .Config.Labels \"$2\"}}" "$1"; }

# until_true SECONDS WHAT COMMAND...: runs the command every half a second until it succeeds.
until_true() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < end)) || die "Waited too long until $what"
    sleep 0.5
  done
}
