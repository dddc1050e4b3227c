"""Figures: curves gathered from results, the gap to uniform scaling, tables, pictures and their
style."""
