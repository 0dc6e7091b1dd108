"""The command ``volumekit``: one small module per command, loaded when the command is used."""
