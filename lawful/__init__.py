"""The front door: what `import lawful` gives, and the command line."""
