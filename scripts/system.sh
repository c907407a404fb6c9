# Sourced by test: finds or installs what tests need of the system: a browser, fonts for screenshots, Postgres.
# shellcheck shell=bash

fonts=(fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji)

installed_browser() { # prints the path of a browser that Playwright can drive
  local candidate
  # chromium-browser last: on Ubuntu it may be a stub that only names a snap.
  for candidate in ${GAC_BROWSER:+"$GAC_BROWSER"} chromium google-chrome google-chrome-stable chromium-browser \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" /Applications/Chromium.app/Contents/MacOS/Chromium; do
    if command -v "$candidate"; then
      return
    fi
  done
  return 1
}

missing_packages() { # prints what apt has to install
  local package
  installed_browser >/dev/null || echo chromium
  command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
  for package in "${fonts[@]}"; do
    dpkg -s "$package" >/dev/null 2>&1 || echo "$package"
  done
}

install_system() { # what apt can bring, where it may
  local packages
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    packages=$(missing_packages)
    if [ -n "$packages" ]; then
      say "Installing" $packages "..."
      apt-get update -qq </dev/null || say "note: apt-get update failed; trying with the lists at hand"
      # shellcheck disable=SC2086
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages </dev/null >/dev/null ||
        say "note: apt-get could not install:" $packages
    fi
  fi
}

find_browser() { # exports GAC_BROWSER
  GAC_BROWSER=$(installed_browser) || fail "the page's tests need Chromium or Chrome." \
    "Install it (Debian: apt-get install chromium ${fonts[*]}), or name it: GAC_BROWSER=/path/to/chrome $0"
  export GAC_BROWSER
}
