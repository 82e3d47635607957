# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_tidegate_global_optspecs
    string join \n h/help V/version
end

function __fish_tidegate_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_tidegate_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_tidegate_using_subcommand
    set -l cmd (__fish_tidegate_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c tidegate -n "__fish_tidegate_needs_command" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_needs_command" -s V -l version -d 'Print version'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "run" -d 'Serve what a configuration file says'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "check" -d 'Check a configuration file and tell every mistake in it'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "demo" -d 'Start a gateway to play with, with a small service behind it'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "proxy" -d 'Put a gateway in front of a service, without a file'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "schema" -d 'Print the JSON Schema of the configuration language'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "import" -d 'Translate a configuration of NGINX'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "reload" -d 'Ask a running gateway to reload, and tell what changed'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "key" -d 'Make, list and remove API keys'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "version" -d 'Print the version'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "completions" -d 'Print completions for a shell'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "man" -d 'Print a manual page'
complete -c tidegate -n "__fish_tidegate_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tidegate -n "__fish_tidegate_using_subcommand run" -s c -l config -d 'Configuration file [default: ./tidegate.toml, then /etc/tidegate/tidegate.toml]' -r -F
complete -c tidegate -n "__fish_tidegate_using_subcommand run" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand check" -l format -d 'For people on stderr, or for programs on stdout' -r -f -a "human\t'Source lines, carets and what would be right'
json\t'An array with an object for each mistake'"
complete -c tidegate -n "__fish_tidegate_using_subcommand check" -l strict -d 'Warnings are errors'
complete -c tidegate -n "__fish_tidegate_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c tidegate -n "__fish_tidegate_using_subcommand demo" -l listen -d 'Where clients connect [default: 127.0.0.1:8080, or a free port]' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand demo" -l admin -d 'Metrics and health [default: 127.0.0.1:9901, or a free port]' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand demo" -l print-config -d 'Print its configuration, and start nothing'
complete -c tidegate -n "__fish_tidegate_using_subcommand demo" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand proxy" -l to -d 'Where requests go; several share them' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand proxy" -l listen -d 'Where clients connect' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand proxy" -l rate -d 'Requests of each client, by its address: N/s, N/m, N/h, N/d or N/10s' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand proxy" -l burst -d 'How much of it at once [default: N of the rate]' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand proxy" -l max-in-flight -d 'Requests in flight, over all clients; more are refused with 503' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand proxy" -l admin -d 'Metrics and health, or "off" [default: 127.0.0.1:9901, or a free port]' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand proxy" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand schema" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand import" -s o -l output -d 'Where to write the result; relative names of certificates are adapted [default: stdout]' -r -F
complete -c tidegate -n "__fish_tidegate_using_subcommand import" -l strict -d 'Exit with 1 if a line is not carried over'
complete -c tidegate -n "__fish_tidegate_using_subcommand import" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand reload" -s c -l config -d 'The file that the gateway runs: it says where its admin listener is, and the token [default: ./tidegate.toml, then /etc/tidegate/tidegate.toml]' -r -F
complete -c tidegate -n "__fish_tidegate_using_subcommand reload" -l admin -d 'Its admin listener, where the file does not say it' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand reload" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and not __fish_seen_subcommand_from new list remove help" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and not __fish_seen_subcommand_from new list remove help" -f -a "new" -d 'Make a key, print it once, and add its digest to the file'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and not __fish_seen_subcommand_from new list remove help" -f -a "list" -d 'List the owners of keys'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and not __fish_seen_subcommand_from new list remove help" -f -a "remove" -d 'Remove an owner with all of its keys'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and not __fish_seen_subcommand_from new list remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from new" -s f -l file -d 'File of API keys; created if it is absent, readable by its owner only' -r -F
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from new" -s n -l name -d 'Name of the owner: the id of the client in limits, logs and headers' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from new" -s p -l plan -d 'Plan of the owner, by which limits may have other numbers' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from new" -s c -l claim -d 'Claim of the owner; may be given several times, and several with one NAME are a list' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from new" -l add -d 'Add a further key of an owner that is in the file'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from list" -s f -l file -d 'File of API keys' -r -F
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from remove" -s f -l file -d 'File of API keys' -r -F
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from remove" -s n -l name -d 'Name of the owner' -r
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "new" -d 'Make a key, print it once, and add its digest to the file'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the owners of keys'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove an owner with all of its keys'
complete -c tidegate -n "__fish_tidegate_using_subcommand key; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tidegate -n "__fish_tidegate_using_subcommand version" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand completions" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand man" -s h -l help -d 'Print help'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "run" -d 'Serve what a configuration file says'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "check" -d 'Check a configuration file and tell every mistake in it'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "demo" -d 'Start a gateway to play with, with a small service behind it'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "proxy" -d 'Put a gateway in front of a service, without a file'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "schema" -d 'Print the JSON Schema of the configuration language'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "import" -d 'Translate a configuration of NGINX'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "reload" -d 'Ask a running gateway to reload, and tell what changed'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "key" -d 'Make, list and remove API keys'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "version" -d 'Print the version'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "completions" -d 'Print completions for a shell'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "man" -d 'Print a manual page'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and not __fish_seen_subcommand_from run check demo proxy schema import reload key version completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "new" -d 'Make a key, print it once, and add its digest to the file'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "list" -d 'List the owners of keys'
complete -c tidegate -n "__fish_tidegate_using_subcommand help; and __fish_seen_subcommand_from key" -f -a "remove" -d 'Remove an owner with all of its keys'
