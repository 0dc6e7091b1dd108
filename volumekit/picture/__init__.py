"""Arrays into pictures: contrast, label colours, scale bars, contact sheets."""
