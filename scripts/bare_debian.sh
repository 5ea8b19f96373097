#!/usr/bin/env bash
# Whether a clone works on a bare Debian, with the packages that the README names and no others.
#
#   sudo scripts/bare_debian.sh [--user root|ann] [--copy FILE]... bookworm|trixie [COMMAND]...
#
# Makes a Debian with debootstrap, clones this repository's HEAD into a folder with a space, as the
# user, and runs the commands there; by default `make demo ARGS="--count 5"` and `make test-fast`.
# Everything it starts and mounts is gone at its end. CACHE_DIR keeps the bare system for next time.
#
# Settings of pip, npm and proxies in the environment are handed on; --copy brings files of this
# machine that they need (a certificate, pip.conf) to the same place there.
set -euo pipefail
repository="$(cd "$(dirname "$0")/.." && pwd)"

usage() {
  sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

user=ann
copies=()
while [[ ${1-} == --* ]]; do
  case "$1" in
    --user) user="${2:?}" ;;
    --copy) copies+=("${2:?}") ;;
    *) usage ;;
  esac
  shift 2
done
release="${1-}"
case "$user:$release" in
  ann:bookworm | ann:trixie | root:bookworm | root:trixie) shift ;;
  *) usage ;;
esac
[ $# -gt 0 ] || set -- 'make demo ARGS="--count 5 --every 1"' 'make test-fast'

if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
  echo "needs root, and debootstrap: apt-get install debootstrap" >&2
  exit 1
fi
# In namespaces of its own: what it mounts and starts ends with it, whatever happens.
if [ -z "${BARE_DEBIAN_INSIDE-}" ]; then
  files=()
  for file in "${copies[@]}"; do files+=(--copy "$file"); done
  export BARE_DEBIAN_INSIDE=1
  exec unshare --mount --pid --fork --kill-child --mount-proc \
    "$0" --user "$user" "${files[@]}" "$release" "$@"
fi

packages="$(sed -n 's/^\$ sudo apt-get install \(.*\)/\1/p' "$repository/README.md")"
[ -n "$packages" ] || { echo "the README names no packages" >&2; exit 1; }

root="$(mktemp -d)"
mount -t tmpfs -o size=8g,mode=755 none "$root" # gone with the namespace
trap 'umount -l "$root" && rmdir "$root"' EXIT

bare="${CACHE_DIR:+$CACHE_DIR/$release.tar}"
if [ -n "$bare" ] && [ -e "$bare" ]; then
  tar -xf "$bare" -C "$root"
else
  echo "==> A bare $release"
  debootstrap --variant=minbase "$release" "$root" >"$root.log" ||
    { tail -n 20 "$root.log" >&2; exit 1; }
  rm -f "$root.log"
  [ -z "$bare" ] || { mkdir -p "$CACHE_DIR"; tar -cf "$bare" -C "$root" .; }
fi

inside() {
  local who="$1" home="$2"
  shift 2
  # No terminal's language, no PATH of ours: what a fresh login has.
  local hand_on=()
  while IFS= read -r line; do hand_on+=("$line"); done < <(
    env | grep -E '^(PIP|NPM_CONFIG|npm_config)_|^(https?|no|all)_proxy=|^(HTTPS?|NO|ALL)_PROXY=' || true
    env | grep -E '^(SSL_CERT_FILE|NODE_EXTRA_CA_CERTS)=' || true
  )
  chroot --userspec="$who" "$root" /usr/bin/env -i HOME="$home" USER="${who%%:*}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ${hand_on[@]+"${hand_on[@]}"} "$@"
}

mount -t proc none "$root/proc"
mount --rbind /dev "$root/dev"
cp /etc/resolv.conf /etc/hosts "$root/etc/"

echo "==> $packages, and no more"
inside root:root /root env DEBIAN_FRONTEND=noninteractive sh -c "
  apt-get -qq update && apt-get -qq -y --no-install-recommends install $packages >/dev/null"
for file in ${copies[@]+"${copies[@]}"}; do
  mkdir -p "$root/$(dirname "$file")"
  cp "$file" "$root/$file"
done

home=/root
if [ "$user" != root ]; then
  home="/home/$user"
  inside root:root /root useradd --create-home "$user"
fi
folder="$home/a folder/realtime-bridge"
mkdir -p "$root/mnt/origin"
git -c safe.directory='*' clone -q --bare "$repository" "$root/mnt/origin"
chroot "$root" chown -R "$user:$user" /mnt/origin
inside "$user:$user" "$home" git clone -q /mnt/origin "$folder"

for command; do
  echo "==> $release, $user: $command"
  begun=$SECONDS
  inside "$user:$user" "$home" sh -c 'cd "$1" && eval "$2"' sh "$folder" "$command"
  echo "==> good after $((SECONDS - begun)) s"
done
